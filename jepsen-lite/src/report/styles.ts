/**
 * The style sheet of all pages: light and dark, and colours of outcomes that people who do not see
 * all colours can tell apart (after Okabe and Ito: blue, orange, purple).
 */
export const STYLES = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --panel: #ffffff; --text: #1b1f24; --faint: #5b6570; --grid: #e4e8ec;
  --line: #cfd6dd; --ok: #0072b2; --fail: #d98200; --info: #aa3f98; --anomaly: #cc0022;
  --valid: #00704f; --unknown: #8a5a00; --link: #0059a8;
  --line-1: #0072b2; --line-2: #d98200; --line-3: #00876a; --line-4: #aa3f98;
  --line-5: #6b6b00; --line-6: #3a3ac0; --line-7: #777777;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14171a; --panel: #1b1f24; --text: #e8ebee; --faint: #9aa5b0; --grid: #2a3036;
    --line: #3a424a; --ok: #5ab4f0; --fail: #f0b040; --info: #e08ad0; --anomaly: #ff5a6a;
    --valid: #3ecfa0; --unknown: #f0b040; --link: #7cc0ff;
    --line-1: #5ab4f0; --line-2: #f0b040; --line-3: #3ecfa0; --line-4: #e08ad0;
    --line-5: #c8c850; --line-6: #9a9aff; --line-7: #aaaaaa;
  }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 20px 24px 40px; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, sans-serif; }
a { color: var(--link); }
h1 { font-size: 20px; margin: 0; }
h2 { font-size: 14px; margin: 22px 0 8px; }
code { font: 12.5px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
.top { display: flex; align-items: center; gap: 12px; flex-wrap: wrap; margin-bottom: 12px; }
.badge { display: inline-block; padding: 1px 9px; border-radius: 4px; font-weight: 600;
  color: var(--panel); white-space: nowrap; }
.badge.valid { background: var(--valid); }
.badge.unknown, .badge.unfinished { background: var(--unknown); }
.badge.invalid { background: var(--anomaly); }
.columns { display: grid; grid-template-columns: minmax(0, 5fr) minmax(0, 6fr); gap: 20px; }
@media (max-width: 900px) { .columns { grid-template-columns: minmax(0, 1fr); } }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 2px 14px; margin: 0; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; color: var(--faint); }
th, td { padding: 3px 12px 3px 0; vertical-align: top; border-bottom: 1px solid var(--grid); }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
th.number { text-align: right; }
.notes { color: var(--unknown); margin: 10px 0 0; padding-left: 18px; }
.anomalies { border-left: 4px solid var(--anomaly); background: var(--panel);
  padding: 8px 14px 10px; margin-top: 16px; }
.anomalies h2 { margin: 0 0 4px; color: var(--anomaly); }
.anomalies ol { margin: 0; padding-left: 22px; }
.anomalies li { padding: 3px 0; overflow-wrap: anywhere; }
.anomalies table { width: auto; margin: 4px 0 2px; font-size: 13px; }
.anomalies details { margin-top: 4px; }
.reason { font-weight: 600; }
button { font: inherit; font-size: 13px; color: var(--text); background: var(--panel);
  border: 1px solid var(--line); border-radius: 4px; padding: 1px 9px; cursor: pointer; }
button:hover { border-color: var(--text); }
.bar { position: sticky; top: 0; z-index: 2; background: var(--page); padding: 10px 0 8px;
  margin-top: 8px; display: flex; gap: 6px 18px; flex-wrap: wrap; align-items: center; }
.bar .buttons { display: flex; gap: 5px; }
.legend { display: flex; gap: 4px 14px; flex-wrap: wrap; font-size: 13px; }
.legend svg { vertical-align: -2px; margin-right: 4px; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px;
  vertical-align: -1px; margin-right: 4px; }
#range { color: var(--faint); font-variant-numeric: tabular-nums; }
#panels { position: relative; }
#panels h3 { font-size: 12px; font-weight: 500; color: var(--faint); margin: 10px 0 3px; }
canvas { display: block; width: 100%; border: 1px solid var(--line); background: var(--panel);
  touch-action: pan-y; cursor: crosshair; }
.crosshair { position: absolute; top: 0; bottom: 0; width: 1px; background: var(--text);
  opacity: 0.35; pointer-events: none; }
.hover { position: absolute; z-index: 3; max-width: 480px; padding: 6px 10px; font-size: 13px;
  background: var(--panel); border: 1px solid var(--line); border-radius: 4px;
  box-shadow: 0 3px 12px rgb(0 0 0 / 25%); pointer-events: none; overflow-wrap: anywhere; }
.hover div:first-child { font-weight: 600; }
details { margin-top: 18px; }
summary { cursor: pointer; color: var(--faint); }
.filters { display: flex; gap: 10px; align-items: center; flex-wrap: wrap; margin: 12px 0; }
input, select { font: inherit; color: var(--text); background: var(--panel); padding: 4px 8px;
  border: 1px solid var(--line); border-radius: 4px; }
input { width: 320px; max-width: 100%; }
[hidden] { display: none !important; }
`;
