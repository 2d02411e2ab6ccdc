/**
 * Text into pages. Everything that comes from a run is hostile: a value of an operation may hold
 * `</script>`. Text goes through `escapeHtml`, data through `embedJson`; and the policy of a page
 * lets only its own scripts run, by their hash. Pure.
 */
import { createHash } from 'node:crypto';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** For text and for attributes in double quotes. */
export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

/** JSON that ends no script element and no line. */
export function embedJson(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[<>\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export interface PageParts {
  readonly title: string;
  readonly styles: string;
  /** HTML, escaped by whoever made it. */
  readonly body: string;
  /** Read by the script as the text of `#data`. */
  readonly data: unknown;
  /** Of this project: it must not hold `</script`. */
  readonly script: string;
}

/** One self-contained page: no address but links between files of the store is in it. */
export function htmlPage({ body, data, script, styles, title }: PageParts): string {
  const code = `\n${script}\n`;
  const hash = createHash('sha256').update(code).digest('base64');
  const policy = `default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-${hash}'`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeHtml(title)}</title>
<style>${styles}</style>
</head>
<body>
${body}
<script type="application/json" id="data">${embedJson(data)}</script>
<script>${code}</script>
</body>
</html>
`;
}
