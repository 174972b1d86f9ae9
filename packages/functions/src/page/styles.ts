// The page's one style sheet, as text: what is built by tsc alone has no other files. No inline style exists (content-security-policy), so
// everything that looks is here.

export const styles = `
:root { color-scheme: light dark;
  --ground: #fff; --panel: #f5f6f8; --line: #d5d9df; --edge: #7d8794; --text: #15181c; --dim: #525c69; --accent: #0b5cad; --on-accent: #fff;
  --safe: #14683a; --safe-ground: #e8f5ec; --look: #7a4b00; --look-ground: #fdf3dc; --unsafe: #a3161d; --unsafe-ground: #fdeceb; --unknown: #475569; --unknown-ground: #eef1f5;
  --every: #0b5cad; --fine: #5b95cf; --coarse: #a9c6e3; }
@media (prefers-color-scheme: dark) { :root {
  --ground: #101317; --panel: #181c22; --line: #313842; --edge: #7b8592; --text: #e8eaed; --dim: #a5afbb; --accent: #7db8f5; --on-accent: #0c1116;
  --safe: #74d399; --safe-ground: #12271b; --look: #f0c26a; --look-ground: #2b220f; --unsafe: #ff9a94; --unsafe-ground: #34171a; --unknown: #b4bfcc; --unknown-ground: #1d232b;
  --every: #7db8f5; --fine: #4a80b5; --coarse: #2f5173; } }
* { box-sizing: border-box; }
html { font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; color: var(--text); background: var(--ground); font-variant-numeric: tabular-nums; -webkit-text-size-adjust: 100%; }
body { margin: 0; overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: .15em; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: .5rem; top: .5rem; background: var(--ground); padding: .5rem; z-index: 2; }
header.top, main, footer { max-width: 74rem; margin: 0 auto; padding: 0 1rem; }
header.top { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: center; padding-top: .6rem; padding-bottom: .6rem; }
header.top .brand { font-weight: 700; color: var(--text); text-decoration: none; letter-spacing: -.01em; display: inline-flex; align-items: center; gap: .4rem; }
header.top nav { flex: 1 1 8rem; min-width: 0; }
header.top nav ol { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem; margin: 0; padding: 0; }
header.top nav li + li::before { content: "/"; color: var(--dim); margin-right: .3rem; }
header.top form { display: flex; gap: .6rem; align-items: center; margin: 0; color: var(--dim); font-size: .87rem; }
footer { color: var(--dim); font-size: .87rem; padding-top: 1.2rem; padding-bottom: 2rem; display: flex; flex-wrap: wrap; gap: .2rem 1.5rem; }
h1 { font-size: 1.35rem; line-height: 1.25; margin: .2rem 0; letter-spacing: -.01em; }
h2 { font-size: 1.02rem; margin: 0 0 .5rem; }
h3 { font-size: .95rem; margin: .9rem 0 .3rem; }
p { margin: .35rem 0; }
section { margin: 1.3rem 0; }
code, pre, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; }
code.id .zeros { color: var(--dim); }
.dim { color: var(--dim); }
.small { font-size: .87rem; }
.verdict { border-left: 6px solid var(--unknown); background: var(--unknown-ground); padding: .8rem 1rem; border-radius: 0 6px 6px 0; margin: .3rem 0 1rem; }
.verdict p { max-width: 60rem; }
.verdict.safe { border-color: var(--safe); background: var(--safe-ground); } .verdict.safe h1 { color: var(--safe); }
.verdict.look { border-color: var(--look); background: var(--look-ground); } .verdict.look h1 { color: var(--look); }
.verdict.unsafe { border-color: var(--unsafe); background: var(--unsafe-ground); } .verdict.unsafe h1 { color: var(--unsafe); }
#line { border: 1px solid var(--unsafe); color: var(--unsafe); background: var(--unsafe-ground); padding: .5rem 1rem; border-radius: 6px; margin: .3rem 0 .8rem; }
.badge { display: inline-block; padding: 0 .45rem; border-radius: 1rem; border: 1px solid currentColor; font-size: .8rem; line-height: 1.45; font-weight: 600; white-space: nowrap; }
.badge.safe { color: var(--safe); } .badge.look { color: var(--look); } .badge.unsafe { color: var(--unsafe); } .badge.unknown, .badge.ended { color: var(--unknown); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; color: var(--dim); font-size: .87rem; padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .42rem .8rem .42rem 0; border-bottom: 1px solid var(--line); }
th:last-child, td:last-child { padding-right: 0; }
td.number + td, th.number + th { padding-left: .8rem; }
thead th { color: var(--dim); font-weight: 600; font-size: .84rem; white-space: nowrap; }
tbody th { font-weight: 600; }
td.number, th.number { text-align: right; white-space: nowrap; }
.lags { list-style: none; margin: 0; padding: 0; display: grid; gap: .15rem; }
.lags li { display: grid; grid-template-columns: 4.4rem 1fr; gap: .8rem; align-items: baseline; }
.lags.drawn li { grid-template-columns: 4.4rem 96px 1fr; align-items: center; }
.lags .value { text-align: right; white-space: nowrap; }
code.id, .whole { white-space: nowrap; }
.why { font-weight: 400; max-width: 24rem; }
.spark { display: block; overflow: visible; } .spark path { fill: none; stroke: var(--accent); stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; } .spark.high path { stroke: var(--unsafe); }
.bad { color: var(--unsafe); font-weight: 600; }
.warn { color: var(--look); font-weight: 600; }
ul.plain { list-style: none; margin: 0; padding: 0; }
ul.plain > li { border-bottom: 1px solid var(--line); padding: .5rem 0; }
.tools { display: flex; flex-wrap: wrap; gap: .5rem .7rem; align-items: end; margin: .4rem 0 .8rem; }
.tools label { display: grid; gap: .15rem; font-size: .87rem; color: var(--dim); }
input[type=text], input[type=search], input[type=password], input[type=datetime-local] { font: inherit; color: var(--text); background: var(--ground); border: 1px solid var(--edge); border-radius: 5px; padding: .38rem .55rem; min-width: 0; max-width: 100%; }
input.wide { width: 26rem; }
button, .button { font: inherit; font-weight: 600; color: var(--accent); background: transparent; border: 1px solid var(--edge); border-radius: 5px; padding: .38rem .8rem; cursor: pointer; text-decoration: none; display: inline-block; }
button.main, .button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button.quiet { padding: .1rem .5rem; font-size: .87rem; }
button:hover, .button:hover { border-color: var(--accent); }
.ways { display: flex; flex-wrap: wrap; gap: .4rem; margin: .5rem 0; padding: 0; list-style: none; }
.ways .button { padding: .15rem .6rem; font-size: .9rem; font-weight: 500; }
.ways [aria-current] { border-color: var(--accent); border-width: 2px; }
.chart { display: block; width: 100%; margin: .3rem 0; background: var(--panel); border-radius: 6px; }
.chart text { fill: var(--dim); font-size: 11px; }
.chart .every { fill: var(--every); } .chart .fine { fill: var(--fine); } .chart .coarse { fill: var(--coarse); }
.chart .tick { fill: var(--text); } .chart .snapshot { fill: var(--text); } .chart .pin { fill: var(--look); } .chart .sound { fill: var(--safe); } .chart .unsound { fill: var(--unsafe); }
.chart .hole { fill: var(--unsafe); fill-opacity: .18; stroke: var(--unsafe); stroke-dasharray: 3 2; }
.chart .grid { stroke: var(--line); } .chart .slice { fill: transparent; } .chart a:hover .slice, .chart a:focus .slice { fill: var(--accent); fill-opacity: .14; }
.chart a:focus { outline: none; } .chart a:focus .slice { stroke: var(--accent); stroke-width: 2; }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0; margin: .2rem 0 .8rem; font-size: .84rem; color: var(--dim); }
.key svg { vertical-align: -1px; margin-right: .3rem; } .key svg.chart { display: inline-block; width: 14px; background: none; border-radius: 0; }
dl.facts { display: grid; grid-template-columns: 13rem 1fr; gap: .25rem 1.2rem; margin: 0; }
div + dl.facts { margin-top: .25rem; }
dl.facts dt { color: var(--dim); } dl.facts dd { margin: 0; }
pre.command { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .3rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: .5rem 0; } summary { color: var(--accent); cursor: pointer; }
.crumbs ol { list-style: none; display: flex; flex-wrap: wrap; gap: .3rem; margin: .3rem 0 .6rem; padding: 0; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; }
.crumbs bdi, .names bdi { white-space: pre-wrap; } .crumbs li + li::before { content: "/"; color: var(--dim); margin-right: .3rem; }
.names th { font-weight: 400; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; } .names thead th { font: inherit; font-weight: 600; font-size: .84rem; }
.value { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; margin: .4rem 0; white-space: pre-wrap; overflow: hidden; overflow-wrap: anywhere; }
.value.hex { list-style: none; font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .92em; } .hex li { display: flex; flex-wrap: wrap; gap: 0 1.2em; } .hex li { padding: .08rem 0; } .hex .eight { min-width: 23ch; } .hex span { white-space: pre; }
.harm { border: 2px solid var(--unsafe); border-radius: 6px; padding: .7rem 1rem; background: var(--unsafe-ground); }
.harm strong { color: var(--unsafe); }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(19rem, 1fr)); gap: 0 2.5rem; }
.narrow { max-width: 34rem; margin-top: 1.5rem; } .narrow form { margin: 1rem 0; }
.stack { display: grid; gap: .7rem; justify-items: start; }
.stack label { display: grid; gap: .2rem; width: 100%; font-weight: 600; } .stack label span { font-weight: 400; color: var(--dim); }
.stack input { width: 100%; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
.pages { display: flex; gap: 1rem; align-items: center; flex-wrap: wrap; margin: .8rem 0; }
@media (min-width: 46rem) { .verdict code { white-space: nowrap; } }
@media (max-width: 46rem) {
  html { font-size: 16px; }
  .stacked thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .stacked, .stacked caption, .stacked tbody, .stacked tr, .stacked td, .stacked th { display: block; }
  .stacked tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  .stacked td, .stacked th { border: 0; padding: .1rem 0; }
  .stacked td.number { text-align: left; }
  .stacked td[data-label]::before { content: attr(data-label) ": "; color: var(--dim); font-size: .87rem; }
  .stacked td.block[data-label]::before { display: block; content: attr(data-label); }
  .lags .value { text-align: left; }
  dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: .4rem; }
  .chart .sometimes, .spare { display: none; }
  th, td { padding-right: .5rem; }
  input.wide { width: 100%; }
}
@media (prefers-reduced-motion: no-preference) { .changed { animation: changed 1.2s ease-out; } @keyframes changed { from { background: var(--look-ground); } } }
@media (forced-colors: active) { .badge, .verdict { border: 1px solid; } }
`.trim();
