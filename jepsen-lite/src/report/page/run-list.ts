/** The script of the list of runs: hides the rows that the reader did not ask for. */

function startList(): void {
  const text = document.getElementById('filter-text');
  const verdict = document.getElementById('filter-verdict');
  const shown = document.getElementById('shown-count');
  if (!(text instanceof HTMLInputElement) || !(verdict instanceof HTMLSelectElement)) return;
  const rows = [...document.querySelectorAll<HTMLElement>('tr[data-verdict]')];
  const apply = (): void => {
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const content = (row.textContent ?? '').toLowerCase();
      const isOfVerdict = verdict.value === '' || row.dataset.verdict === verdict.value;
      row.hidden = !isOfVerdict || !words.every((word) => content.includes(word));
      if (!row.hidden) count += 1;
    }
    if (shown !== null) shown.textContent = `${count} of ${rows.length} runs`;
  };
  text.addEventListener('input', apply);
  verdict.addEventListener('change', apply);
  apply();
}

startList();
