import { episodeCss } from './episode-css.js';
import { fontFamily, themeCss } from './theme.js';

/** Escapes text for use in HTML elements and attributes. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

const css = `
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.55 ${fontFamily};-webkit-font-smoothing:antialiased}
main{max-width:1080px;margin:0 auto;padding:48px 32px 64px}
header{margin-bottom:32px}
.eyebrow{color:var(--muted);font-size:13px;margin:0 0 6px}
h1{font-size:30px;line-height:1.2;font-weight:650;letter-spacing:-.015em;margin:0}
.lead{color:var(--muted);margin:8px 0 0;max-width:70ch}
h2{font-size:19px;font-weight:650;letter-spacing:-.005em;margin:48px 0 14px}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:1px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;margin:0}
.facts div{background:var(--card);padding:16px 18px}
.facts dt{color:var(--muted);font-size:12.5px}
.facts dd{margin:2px 0 0;font-size:22px;font-weight:620;letter-spacing:-.01em;font-variant-numeric:tabular-nums;white-space:nowrap}
.facts dd small{font-size:13px;font-weight:450;color:var(--muted);letter-spacing:0}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:20px 22px}
figure{margin:0}
figcaption,.note{color:var(--muted);font-size:13.5px;max-width:110ch;text-wrap:pretty}
figcaption{margin-top:12px}
.note{margin:-6px 0 14px}
.scroll+.note{margin:10px 0 0}
.below{margin:14px 0 0}
.facts dd .of{font-size:15px;font-weight:450}
.key{color:var(--ink);margin-right:18px;white-space:nowrap;line-height:2}
.key .swatch{margin-right:6px}
svg{display:block;width:100%;height:auto}
svg text{font-family:${fontFamily};font-variant-numeric:tabular-nums}
.hover{stroke:transparent;stroke-width:14px}
.hover:hover{opacity:1!important;stroke:var(--ink);stroke-opacity:.18}
.facts dd small{display:block;white-space:normal;line-height:1.35}
.live{position:sticky;top:0;z-index:1;display:flex;gap:10px;align-items:center;padding:10px 32px;background:var(--card);border-bottom:1px solid var(--line)}
.live p{margin:0;flex:1;font-size:14px}
.live button:disabled{opacity:.55;cursor:default}
.asked{display:grid;grid-template-columns:1fr 1fr;gap:0 32px;margin:16px 0 0;font-size:14px}
.asked div{display:grid;grid-template-columns:minmax(110px,30%) 1fr;gap:12px;padding:8px 0;border-top:1px solid var(--line)}
.asked dt{color:var(--muted)}
.asked dd{margin:0;overflow-wrap:anywhere}
.narrow{display:none}
.grid{display:grid;grid-template-columns:repeat(6,1fr);gap:16px}
.grid>*{grid-column:span 2}
.grid.of-1>*{grid-column:span 6}
.grid.of-2>*,.grid.rest-1:not(.of-1)>:nth-last-child(-n+4),.grid.rest-2>:nth-last-child(-n+2){grid-column:span 3}
.grid .card{padding:16px 16px 10px}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:12px;background:var(--card)}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:9px 13px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--muted);font-weight:500;font-size:12.5px}
th.text,td.text{text-align:left}
.wraps th,.wraps td{white-space:normal;overflow-wrap:anywhere;vertical-align:top}
tbody th{font-weight:600}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:1px;background:var(--line);border:1px solid var(--line);border-radius:12px;overflow:hidden;margin:0 0 18px}
.pair>*{background:var(--card);padding:14px 18px;min-width:0}
.pair .prompt{grid-column:1/-1;color:var(--muted);white-space:pre-wrap;overflow-wrap:anywhere}
.pair p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}
.pair .reward{color:var(--muted);font-size:12.5px;margin-top:8px;font-variant-numeric:tabular-nums}
.muted{color:var(--muted)}
.swatch{display:inline-block;width:14px;height:3px;border-radius:2px;vertical-align:middle;margin-right:9px}
.facts .state{font-size:inherit}
.state{font-size:13px;font-weight:550}
.state.finished{color:var(--good)}
.state.diverged{color:var(--bad)}
.state.unfinished{color:var(--muted)}
pre,code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:13px}
.command{margin:14px 0 0;padding:10px 14px;background:var(--ground);border:1px solid var(--line);border-radius:8px;overflow-x:auto;white-space:pre}
.command::before{content:"$ ";color:var(--muted)}
details{border:1px solid var(--line);border-radius:12px;background:var(--card);margin-top:12px}
summary{cursor:pointer;padding:12px 18px;font-weight:550}
summary:focus-visible,a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
details>pre,details>.inside{margin:0;padding:4px 18px 18px;overflow-x:auto;line-height:1.5}
details>.scroll{border:0;border-top:1px solid var(--line);border-radius:0 0 12px 12px;max-height:420px;overflow:auto}
details .grid{padding:6px 18px 18px}
a{color:var(--accent)}
ul.notices{margin:0;padding-left:20px}
footer{margin-top:48px;color:var(--muted);font-size:13px}
@media(max-width:960px){.grid{grid-template-columns:1fr 1fr}.grid>*,.grid.of-2>*,.grid.rest-1:not(.of-1)>:nth-last-child(-n+4),.grid.rest-2>:nth-last-child(-n+2){grid-column:span 1}.grid.odd>:last-child{grid-column:span 2}}
@media(max-width:700px){.wide{display:none}.narrow{display:block}.live{padding:10px 16px}.grid{grid-template-columns:1fr}.grid>*,.grid.odd>:last-child{grid-column:span 1!important}.asked{grid-template-columns:1fr}.pair{grid-template-columns:1fr}main{padding:28px 16px}h1{font-size:25px}}
@media print{.wide{display:block}.narrow{display:none}details:not([open]){display:none}body{background:none}.card,.grid>*{break-inside:avoid}}
`;

/** A complete, self-contained HTML page. @param body trusted HTML. @param ownCss rules of this page alone. */
export function htmlPage(title: string, body: string, ownCss = ''): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>
${themeCss(':root')}
${css.trim()}
${episodeCss.trim()}${ownCss.trimEnd()}
</style>
</head>
<body>
<main>
${body}
</main>
</body>
</html>
`;
}

export interface Column<Row> {
  readonly head: string;
  /** Trusted HTML. */
  readonly cell: (row: Row) => string;
  /** Text is aligned left, numbers right. */
  readonly text?: boolean;
}

/** What `htmlTable` may be told. */
export interface TableOptions {
  /** What the table shows, for screen readers. */
  readonly caption: string;
  /** Whether long values are broken into lines, so that a narrow page shows all columns. */
  readonly wraps?: boolean;
}

/** A table with row headings in its first column. */
export function htmlTable<Row>(
  columns: readonly Column<Row>[],
  rows: readonly Row[],
  { caption, wraps = false }: TableOptions,
): string {
  const kind = ({ text }: Column<Row>) => (text === true ? ' class="text"' : '');
  const head = columns
    .map((column) => `<th scope="col"${kind(column)}>${escapeHtml(column.head)}</th>`)
    .join('');
  const body = rows.map((row) => {
    const cells = columns.map((column, index) =>
      index === 0
        ? `<th scope="row"${kind(column)}>${column.cell(row)}</th>`
        : `<td${kind(column)}>${column.cell(row)}</td>`,
    );
    return `<tr>${cells.join('')}</tr>`;
  });
  return `<div class="scroll" tabindex="0" role="group" aria-label="${escapeHtml(caption)}"><table${wraps ? ' class="wraps"' : ''}><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`;
}

/** Text in a fixed font that may be wider than the page, and is then scrolled. @param name what it is, for screen readers. */
export function htmlPre(text: string, name: string, kind = ''): string {
  const className = kind === '' ? '' : ` class="${kind}"`;
  return `<pre${className} tabindex="0" role="group" aria-label="${escapeHtml(name)}">${escapeHtml(text)}</pre>`;
}

/** The command that has made something, as a line to copy. */
export const htmlCommand = (command: string) => htmlPre(command, 'Command', 'command');

/** A part of a page that is opened on demand. */
export function folded(title: string, inside: string, open = false): string {
  return `<details${open ? ' open' : ''}><summary>${escapeHtml(title)}</summary>${inside}</details>`;
}

/** Drawings as cards in rows of three; a last row of fewer has wider ones. */
export function cardGrid(drawn: readonly string[]): string {
  const { length } = drawn;
  const shape = `of-${length} rest-${length % 3}${length % 2 === 1 ? ' odd' : ''}`;
  return `<div class="grid ${shape}">${drawn.map((svg) => `<figure class="card">${svg}</figure>`).join('\n')}</div>`;
}
