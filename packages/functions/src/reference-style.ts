// How the reference looks, light and dark, on paper and on a phone.

export const referenceStyle = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #545d68; --line: #d5dae0; --paper: #ffffff; --shade: #f4f6f8; --link: #0a56a8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --soft: #a3adb8; --line: #363d46; --paper: #14171b; --shade: #1e2329; --link: #7db8ff; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1rem; display: grid; grid-template-columns: 18rem minmax(0, 1fr); gap: 1rem 2rem;
  font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
header { grid-column: 1 / -1; }
nav { align-self: start; position: sticky; top: 1rem; max-height: calc(100vh - 2rem); overflow: auto; font-size: .85rem; }
nav ul { list-style: none; margin: 0 0 .5rem; padding: 0; }
nav h2 { font-size: .9rem; margin: .75rem 0 .25rem; }
nav li { overflow-wrap: anywhere; padding: .1rem 0; }
h1 small { font-weight: normal; color: var(--soft); }
h3 { margin: 2rem 0 .25rem; overflow-wrap: anywhere; }
a { color: var(--link); }
a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--paper); padding: .5rem; }
.summary { font-weight: 600; margin: 0; }
p { margin: .25rem 0; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: var(--shade); padding: .75rem; overflow: auto; }
table { width: 100%; border-collapse: collapse; margin: .75rem 0; font-size: .9rem; }
th { text-align: left; white-space: nowrap; color: var(--soft); font-weight: 600; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .75rem .3rem 0; vertical-align: top; overflow-wrap: anywhere; }
@media (max-width: 52rem) { body { display: block; } nav { position: static; max-height: none; } table { display: block; overflow-x: auto; } }
@media print { nav { display: none; } body { display: block; } }
`;
