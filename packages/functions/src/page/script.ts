// The page's one script, as text. Everything works without it: it only asks for the same page again when something happens, and puts the
// parts that changed in place; keeps "12 s ago" true; and copies commands.

export const script = `
(() => {
  "use strict";
  const quietMs = 15000, everyMs = 5000, gapMs = 1000, staleMs = 20000;
  const parts = () => [...document.querySelectorAll("[data-live]")];
  const last = new Map();
  let asking = false, again = false, isOver = false, askedAt = 0, heardAt = Date.now(), hasStream = false, skewMs = 0;

  const units = [[86400000, "d", 2], [3600000, "h", 2], [60000, "min", 2], [1000, "s", 1]];
  function ago(ms) {
    const past = Date.now() + skewMs - ms, size = Math.abs(past);
    if (size < 1000) return "just now";
    const [unit, word] = units.find(([least, , times]) => size >= least * times) || units[3];
    const text = Math.round(size / unit) + " " + word;
    return past > 0 ? text + " ago" : "in " + text;
  }
  function tick() {
    for (const time of document.querySelectorAll("time[data-ago]")) {
      const text = ago(Date.parse(time.dateTime));
      if (time.textContent !== text) time.textContent = text;
    }
  }

  function put(part, fresh) {
    const held = part.contains(document.activeElement) ? document.activeElement : undefined;
    const key = held && (held.id ? "#" + CSS.escape(held.id) : held.getAttribute("href") && "a[href=" + JSON.stringify(held.getAttribute("href")) + "]");
    part.className = fresh.className;
    part.replaceChildren(...document.importNode(fresh, true).childNodes);
    const again = key && part.querySelector(key);
    if (again) again.focus({ preventScroll: true });
  }

  function tell(text) {
    const line = document.getElementById("line");
    if (!line) return;
    if (line.textContent !== text) line.textContent = text;
    line.hidden = text === "";
  }

  async function refresh() {
    if (isOver) return;
    if (asking) { again = true; return; }
    asking = true; askedAt = Date.now();
    try {
      const answer = await fetch(location.href, { headers: { "pageferry-part": "live" }, redirect: "manual", cache: "no-store", signal: AbortSignal.timeout(10000) });
      if (answer.type === "opaqueredirect" || answer.status === 401) {
        isOver = true;
        tell("You are signed out: what you see is not kept up to date. Reload to sign in.");
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        const fresh = page.getElementById(part.id);
        if (!fresh || last.get(part.id) === fresh.innerHTML) continue;
        last.set(part.id, fresh.innerHTML);
        put(part, fresh);
      }
      const at = page.querySelector("[data-now]");
      if (at) skewMs = Date.parse(at.dateTime) - Date.now();
      heardAt = Date.now();
      tell("");
      tick();
    } catch {
      if (Date.now() - heardAt > staleMs) tell("This host has not answered since " + new Date(heardAt).toLocaleTimeString() + ": what you see is as old as that. It is asked again.");
    } finally {
      asking = false;
      if (again) { again = false; setTimeout(refresh, gapMs); }
    }
  }

  function listen() {
    if (typeof EventSource === "undefined") return;
    const source = new EventSource("/v1/events/stream");
    let due = false;
    const soon = () => {
      if (due || document.hidden) return;
      due = true;
      setTimeout(() => { due = false; refresh(); }, Math.max(0, gapMs - (Date.now() - askedAt)));
    };
    source.onopen = () => { hasStream = true; };
    source.onerror = () => { hasStream = false; };
    for (const kind of ["message", "event", "status", "alarm"]) source.addEventListener(kind, soon);
  }

  for (const box of document.querySelectorAll("pre.command")) {
    if (!navigator.clipboard) break;
    const button = document.createElement("button");
    button.type = "button"; button.className = "quiet"; button.textContent = "Copy";
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(box.textContent); button.textContent = "Copied"; } catch { button.textContent = "Not allowed: select it"; }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    box.after(button);
  }

  for (const part of parts()) last.set(part.id, part.innerHTML);
  const now = document.querySelector("[data-now]");
  if (now) skewMs = Date.parse(now.dateTime) - Date.now();
  setInterval(tick, 1000);
  if (parts().length > 0) {
    listen();
    setInterval(() => {
      if (!document.hidden && Date.now() - askedAt >= (hasStream ? quietMs : everyMs)) refresh();
    }, 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
  }
})();
`.trim();
