// The page: panes side by side, what is lit, what is kept, search, keys.

const DWELL = 350;          // milliseconds of pointing at a thing until lines that belong to it are scrolled into view

const app = {
  names: {
    program: "Your program", rewrites: "Rewrites", written: "Graph as written", gradient: "Its gradient",
    rewritten: "Rewritten graph", fused: "Loops and calls", c: "C",
  },
  notes: {
    program: () => "", rewrites: () => `${data.rewrites.length} fired`, written: () => count(data.written.filter(x => !x.derived).length, "value"),
    gradient: () => count(data.written.filter(x => x.derived).length, "value"), rewritten: () => count(data.rewritten.length, "value"),
    fused: () => count(data.steps.length, "step"), c: () => count(model.lineCount, "line"),
  },
  columns: [["program", "rewrites"], ["written", "gradient"], ["rewritten", "fused"], ["c"]],
  widths: [25, 24, 27, 29],
  panes: {}, shells: {}, pinned: null, hovered: null, follow: true,

  hover(ids, fold = null, now = false) {
    clearTimeout(this.leaving);
    const key = ids.length === 1 ? ids[0] : fold?.key + ids[0] + ids.length;
    if (key === this.hovered) return;
    this.hovered = key;
    cancelAnimationFrame(this.frame);
    const act = () => this.light(ids);
    if (now) act(); else this.frame = requestAnimationFrame(act);
    clearTimeout(this.dwelling);
    if (this.follow && !this.pinned) this.dwelling = setTimeout(() => this.bring(), DWELL);
  },

  bring() {                   // the lines that belong to what is pointed at, but not under the pointer
    for (const [key, pane] of Object.entries(this.panes)) if (pane instanceof LinesPane && key !== this.current) pane.reveal();
  },

  leave() {
    clearTimeout(this.leaving);
    clearTimeout(this.dwelling);
    this.leaving = setTimeout(() => {
      this.hovered = null;
      cancelAnimationFrame(this.frame);
      this.light(this.pinned);
    }, 60);
  },

  pin(ids, from = null) {
    clearTimeout(this.leaving);
    if (this.pinned && ids.length === this.pinned.length && ids[0] === this.pinned[0]) return this.release();
    this.pinned = ids;
    document.body.classList.add("kept");
    this.light(ids);
    for (const pane of Object.values(this.panes)) if (pane !== from) pane.reveal();
    history.replaceState(null, "", ids.length === 1 ? "#" + ids[0] : "#");
  },

  release() {
    if (!this.pinned) return;
    this.pinned = null;
    this.hovered = null;
    document.body.classList.remove("kept");
    this.light(null);
    history.replaceState(null, "", "#");
  },

  light(ids) {
    const family = new Map(), strength = { self: 4, to: 3, from: 2, step: 1 };
    for (const id of ids || [])
      for (const [other, role] of model.family(id))
        if (strength[role] > (strength[family.get(other)] || 0)) family.set(other, role);
    this.family = family;
    for (const pane of Object.values(this.panes)) pane.light(family);
    describe(ids, family);
  },
};

const count = (n, noun) => `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
const $ = id => document.getElementById(id);

// -- details

const KINDS = { L: "line", W: "written", R: "rewritten", K: "step", S: "rewrite", C: "C" };
const SHOWN = 3;

function chip(parent, id, role) {
  const button = element("button", "chip " + role, parent, shorten(model.title(id), 34));
  button.type = "button";
  button.dataset.id = id;
  const step = model.stepOf(id);
  if (step >= 0) button.style.setProperty("--hue", model.hue(step)); else button.classList.add("plain");
  button.onclick = () => goTo(id);
  button.onfocus = button.onpointerenter = () => { if (app.pinned) app.hover([id]); };
  button.onpointerleave = () => { if (app.pinned) app.leave(); };
}

function describe(ids, family) {
  const footer = $("details");
  footer.replaceChildren();
  const what = element("div", "what", footer);
  if (!ids) {
    const n = data.written.length, steps = data.steps.length;
    element("p", "hint", what, steps
      ? `Point at anything. ${count(n, "value")} as written and derived became ${data.rewritten.length} by ${count(data.rewrites.length, "rewrite")}, which ${count(steps, "step")} compute in C.`
      : `Point at anything. This function is interpreted: there is no C.`);
    element("p", "hint faint", what, "Click to keep it lit, / to search, ? for help.");
    return;
  }
  const id = ids[0], n = +id.slice(1), head = element("div", "head", what);
  if (ids.length > 1) {
    element("span", "kind", head, "fold");
    element("b", "", head, `${ids.length} ${id[0] === "K" ? "steps" : "values"}`);
  } else {
    element("span", "kind", head, KINDS[id[0]]);
    facts(id, n, head, what);
  }
  const path = element("div", "path", footer);
  const stages = [["L", "line"], ["W", "as written"], ["S", "rules"], ["R", "rewritten"], ["K", "computed by"], ["C", "C"]];
  for (const [letter, name] of stages) {
    const found = [...family].filter(([other]) => other[0] === letter);
    if (!found.length) continue;
    const group = element("div", "stage", path), title = element("span", "name", group, name);
    if (letter === "C") {
      const runs = [];
      for (const k of found.map(([other]) => +other.slice(1)).sort((a, b) => a - b))
        if (runs.length && runs.at(-1)[1] === k - 1) runs.at(-1)[1] = k; else runs.push([k, k]);
      for (const [a, b] of runs.slice(0, SHOWN)) {
        chip(group, "C" + a, "to");
        group.lastChild.textContent = a === b ? `line ${a}` : `lines ${a}–${b}`;
      }
      if (runs.length > SHOWN) title.textContent += `, ${SHOWN} of ${runs.length} parts`;
      continue;
    }
    found.sort(([, a], [, b]) => (b === "self") - (a === "self"));
    for (const [other, role] of found.slice(0, SHOWN)) chip(group, other, role);
    if (found.length > SHOWN) title.textContent += `, ${SHOWN} of ${found.length}`;
  }
}

function facts(id, n, head, what) {
  const text = (content, className = "") => element("span", className, head, content);
  const code = content => element("code", "expression", what, content);
  const note = content => element("p", "note", what, content);
  const value = model.node(id);
  if (value) {
    if (value.name) element("b", "", head, value.name);
    text(value.type, "type");
    if (value.role) text(value.role, "role");
    text(model.place(value.line)[0] + (value.derived ? ", derived" : ""), "where");
    if (value.kind === "op") code(value.text);
    else note(`${{ input: "An input", shared: "A shared variable: its value lives between calls", constant: "A constant" }[value.kind]}${value.memory ? "; " + value.memory : ""}.`);
    if (id[0] === "W" && value.absorbed && value.became.length) note("Rewritten away: what used it became what is lit.");
    if (id[0] === "W" && !value.became.length && value.kind === "op") note("Rewritten away: nothing needs it any more.");
    if (id[0] === "R" && data.steps.length && value.kind === "op") note(residence(value, n));
  } else if (id[0] === "L") {
    element("b", "", head, model.place(n)[0]);
    code(model.lineText(n) || "(the line cannot be read)");
  } else if (id[0] === "K") {
    const step = data.steps[n];
    element("b", "", head, step.name);
    text(step.kind === "loop nest" ? `one loop nest of ${count(step.made.length, "value")}, ${step.stored.length} of them kept in memory` : step.kind, "type");
    code(`${step.cost[0]} operations; ${step.cost[1]} bytes read, ${step.cost[2]} written`);
    const measured = [];
    if (step.counts) measured.push(`in the last call ${ops(step.counts[0])}, ${bytes(step.counts[1])} read, ${bytes(step.counts[2])} written`);
    if (step.seconds !== null) {
      const total = data.steps.reduce((sum, s) => sum + (s.seconds || 0), 0), each = step.seconds / data.calls;
      measured.push(`${time(each)} a call over ${count(data.calls, "call")}, ${(100 * step.seconds / (total || 1)).toFixed(1)} %`);
      if (step.counts && each) measured.push(`${(step.counts[0] / each / 1e9).toPrecision(3)} GFLOP/s, ${((step.counts[1] + step.counts[2]) / each / 1e9).toPrecision(3)} GB/s`);
    }
    if (measured.length) note(measured.join("; "));
  } else if (id[0] === "S") {
    const firing = data.rewrites[n], [rule, why] = data.rules[firing.rule];
    element("b", "", head, rule);
    text(why, "type");
    text(model.place(firing.line)[0], "where");
    const both = code("");
    element("span", "before", both, firing.before);
    both.append("  →  ");
    element("span", "after", both, firing.after);
  } else {
    element("b", "", head, `line ${n}`);
    code(app.panes.c.text[n - 1].trim());
  }
}

// Where a compiled value is while the function runs, and why.
function residence(value, n) {
  if (value.inlined) return "Never computed on its own: its elements are read where they are used, or a length tells it.";
  const step = data.steps[value.steps[0]];
  if (!step) return "";
  if (!step.stored.includes(n)) return "Lives in a register, for one pass of the loops.";
  const reasons = (value.apart || []).map(([r, why]) => `${model.title("R" + r)} is apart: ${why}`);
  return `Kept ${value.memory || "in memory"}${reasons.length ? "; " + [...new Set(reasons)].slice(0, 2).join("; ") : ""}.`;
}

// Show one thing in its pane, unfolded, and keep it lit.
function goTo(id) {
  for (const [key, pane] of Object.entries(app.panes)) {
    if (pane instanceof GraphPane && pane.parent.has(id) && pane.owns(id)) {
      if (!app.shells[key].hidden && pane.stale) pane.start();
      pane.unfoldTo(id);
      pane.cursor = id;
    }
  }
  app.pinned = null;
  app.pin([id]);
}

// -- panes

function build() {
  const graph = (key, letter, owns) => data.folds[key === "fused" ? "steps" : key].length ? new GraphPane(key, letter, data.folds[key === "fused" ? "steps" : key], owns, app) : null;
  app.panes.program = new ProgramPane("program", app);
  app.panes.rewrites = new RewritesPane("rewrites", app);
  app.panes.written = graph("written", "W", id => !model.node(id).derived);
  app.panes.gradient = graph("gradient", "W", id => model.node(id).derived);
  app.panes.rewritten = graph("rewritten", "R", () => true);
  app.panes.fused = graph("fused", "K", () => true);
  app.panes.c = data.c ? new CPane("c", app) : null;
  for (const key of Object.keys(app.panes)) if (!app.panes[key]) delete app.panes[key];

  const main = $("panes"), narrow = innerWidth < 1100 ? ["gradient", "rewritten"] : [];
  const order = app.columns.flat();
  app.columns.forEach((keys, c) => {
    const present = keys.filter(key => app.panes[key]);
    if (!present.length) return;
    if (main.childElementCount) main.append(splitter("vertical"));
    const column = element("div", "column", main);
    column.style.flexGrow = app.widths[c];
    present.forEach((key, k) => {
      if (k) column.append(splitter("horizontal"));
      const shell = element("section", "pane", column);
      shell.style.flexGrow = key === "program" ? 9 : 10;
      shell.setAttribute("aria-label", app.names[key]);
      const head = element("h2", "", shell);
      element("kbd", "", head, String(order.indexOf(key) + 1));
      element("span", "", head, app.names[key]);
      element("span", "note", head, app.notes[key]());
      const alone = element("button", "alone", head, "□");
      alone.type = "button"; alone.title = "Alone, or with the others again (m)"; alone.setAttribute("aria-label", `${app.names[key]} alone, or with the others again`);
      alone.onclick = () => maximize(key);
      head.ondblclick = () => maximize(key);
      shell.append(app.panes[key].body);
      shell.addEventListener("pointerenter", () => { app.current = key; });
      shell.addEventListener("focusin", () => { app.current = key; });
      app.shells[key] = shell;
      shell.hidden = narrow.includes(key);
    });
  });
  order.forEach((key, k) => {
    const button = element("button", "", $("toggles"), String(k + 1));
    button.type = "button";
    button.title = `${app.names[key]} (${k + 1})`;
    button.setAttribute("aria-label", app.names[key]);
    button.disabled = !app.panes[key];
    button.onclick = () => toggle(key);
  });
  arrange();
}

function arrange() {
  for (const column of document.querySelectorAll(".column")) {
    const panes = [...column.querySelectorAll(".pane")];
    column.hidden = panes.every(p => p.hidden);
    for (const bar of column.querySelectorAll(".splitter")) bar.hidden = panes.some(p => p.hidden);
  }
  let before = false;
  for (const child of $("panes").children) {
    if (child.classList.contains("column")) before ||= !child.hidden;
    else child.hidden = !before || child.nextElementSibling.hidden;
  }
  app.columns.flat().forEach((key, k) => {
    const on = app.shells[key] && !app.shells[key].hidden;
    $("toggles").children[k].setAttribute("aria-pressed", String(Boolean(on)));
    const pane = app.panes[key];
    if (on && pane instanceof GraphPane && pane.stale) pane.start();
  });
}

function toggle(key) {
  if (!app.shells[key]) return;
  app.alone = null;
  app.shells[key].hidden = !app.shells[key].hidden;
  arrange();
}

function maximize(key) {
  if (app.alone) {
    for (const [other, was] of Object.entries(app.alone)) app.shells[other].hidden = was;
    app.alone = null;
  } else if (key && app.shells[key]) {
    app.alone = Object.fromEntries(Object.entries(app.shells).map(([other, shell]) => [other, shell.hidden]));
    for (const [other, shell] of Object.entries(app.shells)) shell.hidden = other !== key;
  }
  arrange();
  if (app.panes[key] instanceof GraphPane) app.panes[key].start();
}

function splitter(direction) {
  const bar = element("div", "splitter " + direction);
  bar.tabIndex = 0;
  bar.setAttribute("role", "separator");
  bar.setAttribute("aria-orientation", direction);
  bar.setAttribute("aria-label", "Resize");
  const size = part => direction === "vertical" ? part.getBoundingClientRect().width : part.getBoundingClientRect().height;
  const shown = (part, way) => { while (part && (part.hidden || part.classList.contains("splitter"))) part = part[way]; return part; };
  const shift = pixels => {
    const a = shown(bar.previousElementSibling, "previousElementSibling"), b = shown(bar.nextElementSibling, "nextElementSibling");
    if (!a || !b) return;
    const total = size(a) + size(b), grow = +a.style.flexGrow + +b.style.flexGrow;
    const first = Math.max(60, Math.min(total - 60, size(a) + pixels));
    a.style.flexGrow = grow * first / total;
    b.style.flexGrow = grow * (total - first) / total;
  };
  bar.addEventListener("pointerdown", event => {
    bar.setPointerCapture(event.pointerId);
    let last = direction === "vertical" ? event.clientX : event.clientY;
    const move = e => { const now = direction === "vertical" ? e.clientX : e.clientY; shift(now - last); last = now; };
    bar.addEventListener("pointermove", move);
    bar.addEventListener("lostpointercapture", () => bar.removeEventListener("pointermove", move), { once: true });
  });
  bar.addEventListener("keydown", event => {
    const by = { ArrowLeft: -24, ArrowUp: -24, ArrowRight: 24, ArrowDown: 24 }[event.key];
    if (by) { event.preventDefault(); shift(by); }
  });
  return bar;
}

// -- search

const search = (() => {
  let index = null, found = [], chosen = -1;
  const build = () => {
    index = [];
    const put = (id, ...texts) => index.push([id, texts.filter(Boolean).join(" ").toLowerCase()]);
    data.written.forEach((x, k) => put("W" + k, x.name, x.label, x.text));
    data.rewritten.forEach((x, k) => put("R" + k, x.name, x.label, x.text));
    data.steps.forEach((x, k) => put("K" + k, x.name));
    data.lines.made.forEach(([where, text], k) => put("L" + k, where, text));
    data.rewrites.forEach((x, k) => put("S" + k, ...data.rules[x.rule], x.before, x.after));
    app.panes.c?.text.forEach((line, k) => put("C" + (k + 1), line));
  };
  const exact = (id, query) => model.node(id)?.name?.toLowerCase() === query ? 0 : model.title(id).toLowerCase().startsWith(query) ? 1 : 2;
  const run = () => {
    if (!index) build();
    const query = $("search").value.trim().toLowerCase(), list = $("results");
    list.replaceChildren();
    chosen = -1;
    found = query ? index.filter(([, text]) => text.includes(query)).map(([id]) => id) : [];
    const total = found.length, per = {}, best = new Map(found.map(id => [id, exact(id, query)]));
    found = found.sort((a, b) => best.get(a) - best.get(b)).filter(id => (per[id[0]] = (per[id[0]] || 0) + 1) <= 6);
    found.forEach((id, k) => {
      const item = element("li", "", list);
      item.id = "found-" + k;
      item.setAttribute("role", "option");
      element("span", "kind", item, KINDS[id[0]]);
      element("b", "", item, shorten(model.title(id), 40));
      const more = id[0] === "L" ? model.lineText(+id.slice(1)) : id[0] === "C" ? app.panes.c.text[+id.slice(1) - 1].trim()
        : id[0] === "S" ? data.rewrites[+id.slice(1)].before : model.node(id) ? model.node(id).text : "";
      element("code", "", item, shorten(more, 70));
      item.onpointermove = () => { if (chosen !== k) choose(k); };
      item.onclick = () => take(k);
    });
    if (query) element("li", "total", list, total > found.length ? `${found.length} of ${total} found` : `${total} found`);
    list.hidden = !query;
    $("search").setAttribute("aria-expanded", String(!list.hidden));
  };
  const choose = k => {
    $("found-" + chosen)?.setAttribute("aria-selected", "false");
    chosen = k;
    const item = $("found-" + k);
    if (!item) return;
    item.setAttribute("aria-selected", "true");
    item.scrollIntoView({ block: "nearest" });
    $("search").setAttribute("aria-activedescendant", item.id);
    app.hover([found[k]], null, true);
  };
  const take = k => { close(); goTo(found[k]); };
  const close = () => { $("results").hidden = true; $("search").setAttribute("aria-expanded", "false"); $("search").blur(); };
  $("search").addEventListener("input", run);
  $("search").addEventListener("focus", () => { if ($("search").value) run(); });
  $("search").addEventListener("keydown", event => {
    if (event.key === "ArrowDown") choose(Math.min(chosen + 1, found.length - 1));
    else if (event.key === "ArrowUp") choose(Math.max(chosen - 1, 0));
    else if (event.key === "Enter") { if (found.length) take(Math.max(chosen, 0)); }
    else if (event.key === "Escape") { close(); app.leave(); }
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("pointerdown", event => { if (!event.target.closest(".search")) close(); });
  return { open: () => $("search").select() };
})();

// -- keys, theme, help

function stepThrough(by) {
  const at = app.pinned?.[0][0] === "S" ? +app.pinned[0].slice(1) + by : by > 0 ? 0 : data.rewrites.length - 1;
  if (at >= 0 && at < data.rewrites.length) goTo("S" + at);
}

function theme(name) {
  const dark = name ? name === "dark" : !isDark();
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
const isDark = () => document.documentElement.dataset.theme
  ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;

document.addEventListener("keydown", event => {
  if (event.target.closest("input, dialog") || event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    "/": () => search.open(), "?": () => $("help").showModal(), t: () => theme(), m: () => maximize(app.current),
    f: () => { app.follow = !app.follow; }, n: () => stepThrough(1), p: () => stepThrough(-1), Escape: () => app.alone ? maximize() : app.release(),
  };
  const number = +event.key;
  if (number >= 1 && number <= 7) toggle(app.columns.flat()[number - 1]);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

function legend() {
  const signs = [["leaf input", "an input, or a constant"], ["leaf shared", "a shared variable"], ["op", "a value"], ["op root", "an output or a new state"],
    ["ghost", "a value of the other graph"], ["op inlined", "never computed on its own"], ["fold", "folded: click to open"]];
  for (const [kind, meaning] of signs) {
    const item = element("li", "", $("legend")), drawn = make("svg", { width: 46, height: 22, "aria-hidden": true }, item);
    const g = make("g", { class: "node " + kind }, drawn);
    if (kind === "fold") make("rect", { class: "card", x: 5, y: 5, width: 38, height: 15, rx: 5 }, g);
    make("rect", { class: "box", x: 1, y: 1.5, width: 40, height: 17, rx: /leaf|ghost/.test(kind) ? 9 : 5 }, g);
    element("span", "", item, meaning);
  }
}

function summary() {
  $("name").textContent = data.name;
  const spent = Object.entries(data.timings), total = spent.reduce((sum, [, s]) => sum + s, 0), where = $("summary");
  const kinds = new Map(data.written.filter(x => x.kind === "input" || x.kind === "shared").map(x => [x.name || x.type, x.kind]));
  const takes = [...kinds].filter(([, kind]) => kind === "input").map(([name]) => name), state = kinds.size - takes.length;
  element("span", "", where, shorten(`(${takes.join(", ")})`, 60));
  if (state) element("span", "", where, `${count(state, "shared variable")}`);
  if (total) {
    const bar = element("span", "bars", where);
    bar.title = spent.map(([stage, s]) => `${stage} ${time(s)}`).join("\n");
    bar.setAttribute("role", "img");
    bar.setAttribute("aria-label", `compiled in ${time(total)}: ${spent.map(([stage, s]) => `${stage} ${time(s)}`).join(", ")}`);
    spent.forEach(([, s], k) => { const part = element("i", "", bar); part.style.flexGrow = s / total; part.style.setProperty("--hue", 205 + k * 40); });
    element("span", "", where, `compiled in ${time(total)}`);
  }
  const measured = data.steps.reduce((sum, s) => sum + (s.seconds || 0), 0);
  if (measured) element("span", "", where, `${time(measured / data.calls)} a call`);
}

summary();
build();
legend();
describe(null, new Map());
$("theme").onclick = () => theme();
$("help-button").onclick = () => $("help").showModal();
$("help").onclick = event => { if (event.target === $("help")) $("help").close(); };
for (const word of decodeURIComponent(location.hash.slice(1)).split("&")) {
  if (/^(dark|light)$/.test(word)) theme(word);
  else if (/^[LWRKSC]\d+$/.test(word)) goTo(word);
}
document.documentElement.dataset.ready = "true";
