// A pane with a graph: drawn in layers, folded where it is large, lit by what is pointed at.

const make = (tag, attributes = {}, parent = null, text = null) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent?.append(element);
  return element;
};

const element = (tag, className = "", parent = null, text = null) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  parent?.append(made);
  return made;
};

const shorten = (text, most) => text.length <= most ? text : text.slice(0, most - 1) + "…";

const textWidth = (() => {
  const context = document.createElement("canvas").getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const fonts = {
    name: `600 12px ${style.getPropertyValue("--sans")}`, label: `11.5px ${style.getPropertyValue("--mono")}`,
    small: `10px ${style.getPropertyValue("--sans")}`,
  };
  const known = new Map();
  return (text, font) => {
    const key = font + text;
    if (!known.has(key)) {
      context.font = fonts[font];
      known.set(key, context.measureText(text).width);
    }
    return known.get(key);
  };
})();

const shortType = type => {
  const [dtype, shape] = [type.split(" ", 1)[0], type.slice(type.indexOf(" ") + 1)];
  const short = dtype.replace("float", "f").replace("uint", "u").replace("int", "i");
  return shape === "()" ? short : `${short} ${shape}`;
};

const units = (value, names) => {
  let k = 0;
  while (Math.abs(value) >= 1000 && k < names.length - 1) { value /= 1000; k++; }
  return `${value >= 100 || Number.isInteger(value) ? Math.round(value) : value.toPrecision(3)} ${names[k]}`;
};
const ops = n => units(n, ["operations", "thousand operations", "million operations", "billion operations"]);
const bytes = n => units(n, ["B", "kB", "MB", "GB", "TB"]);
const time = seconds => seconds >= 1 ? `${seconds.toPrecision(3)} s` : seconds >= 1e-3 ? `${(seconds * 1e3).toPrecision(3)} ms`
  : seconds >= 1e-6 ? `${(seconds * 1e6).toPrecision(3)} µs` : `${Math.round(seconds * 1e9)} ns`;

const base = id => id.split("~")[0];      // of a copy of an input that stands by its user
const FAR = 2;              // layers from which on an input is copied to its user

const OPEN_UP_TO = 56;      // nodes shown without being asked for
const ROWS = 7;             // values listed in the box of a step
const LINE = 15;

class GraphPane {
  constructor(key, letter, tree, owns, app) {
    Object.assign(this, { key, letter, owns, app, open: new Set(), lit: new Map(), wide: new Set(), k: 1, x: 0, y: 0 });
    this.folds = new Map();
    this.parent = new Map();
    this.top = tree.map(item => this.grow(item, null));
    this.body = element("div", "graph");
    this.svg = make("svg", { tabindex: 0, role: "group", "aria-label": `${app.names[key]}, a graph; arrow keys move` }, this.body);
    const arrow = make("marker", { id: `arrow-${key}`, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" },
      make("defs", {}, this.svg));
    make("path", { d: "M0,0.5 L8,4 L0,7.5 z", class: "arrow" }, arrow);
    this.view = make("g", {}, this.svg);
    this.tools();
    this.listen();
    this.openSome();
    this.stale = true;
  }

  // -- folds

  grow(item, parent) {
    if (!Array.isArray(item)) {
      const id = this.letter + item;
      this.parent.set(id, parent);
      return id;
    }
    const id = `F${this.key}${this.folds.size}`;
    const fold = { id, items: [], leaves: [] };
    this.folds.set(id, fold);
    this.parent.set(id, parent);
    fold.items = item.map(one => this.grow(one, id));
    for (const one of fold.items) for (const leaf of this.folds.get(one)?.leaves || [one]) fold.leaves.push(leaf);
    return id;
  }

  openSome() {
    let total = this.top.length;
    const worth = id => this.folds.get(id)?.leaves.some(leaf => this.operands(leaf).length);      // a crowd of inputs is not
    const queue = this.top.filter(worth).sort((a, b) => this.folds.get(a).leaves.length - this.folds.get(b).leaves.length);
    for (const id of queue) {
      const fold = this.folds.get(id);
      if (total - 1 + fold.items.length > OPEN_UP_TO) break;
      total += fold.items.length - 1;
      this.open.add(id);
      queue.push(...fold.items.filter(worth));
    }
  }

  visible() {
    const found = [], stack = [...this.top].reverse();
    while (stack.length) {
      const id = stack.pop();
      if (this.open.has(id)) stack.push(...[...this.folds.get(id).items].reverse());
      else found.push(id);
    }
    return found;
  }

  unfoldTo(id) {
    let changed = false;
    for (let fold = this.parent.get(id); fold; fold = this.parent.get(fold))
      if (!this.open.has(fold)) { this.open.add(fold); changed = true; }
    if (changed) this.draw();
  }

  toggle(id) {
    if (this.folds.has(id)) {
      this.open.add(id);
      this.redraw(this.folds.get(id).items[0], id);
    } else if (id[0] === "K") {
      if (!this.wide.delete(id)) this.wide.add(id);
      this.redraw(id, id);
    } else if (this.parent.get(id)) {
      const fold = this.parent.get(id);
      this.close(fold);
      this.redraw(fold, id);
    }
  }

  close(fold) {
    this.open.delete(fold);
    for (const one of this.folds.get(fold).items) if (this.folds.has(one)) this.close(one);
  }

  all(open) {
    for (const id of this.folds.keys()) if (open) this.open.add(id); else this.open.delete(id);
    this.draw();
    this.fit();
  }

  foldTitle(fold) {
    const lines = new Set(), steps = new Set();
    for (const leaf of fold.leaves) {
      if (leaf[0] !== "K") lines.add(model.node(leaf).line);
      if (leaf[0] !== "W") steps.add(model.stepOf(leaf));
    }
    const ordered = [...lines].sort((a, b) => model.place(a)[0].localeCompare(model.place(b)[0], "en", { numeric: true }));
    if (this.letter === "R" && steps.size === 1 && !steps.has(-1)) return [data.steps[[...steps][0]].name, "step " + ([...steps][0] + 1)];
    if (ordered.length === 1) return [model.lineText(ordered[0]) || "one line", model.place(ordered[0])[0]];
    if (this.letter === "K") return [`steps ${Math.min(...steps) + 1} to ${Math.max(...steps) + 1}`, ""];
    const [first, last] = [model.place(ordered[0])[0], model.place(ordered.at(-1))[0]];
    return [`${ordered.length} lines`, first.split(":")[0] === last.split(":")[0] ? `${first}–${last.split(":").at(-1)}` : `${first} … ${last}`];
  }

  // -- drawing

  operands(leaf) {
    if (!this.owns(leaf)) return [];
    return leaf[0] === "K" ? data.steps[+leaf.slice(1)].needs : model.node(leaf).operands;
  }

  box(id) {
    if (this.folds.has(id)) return this.foldBox(id);
    if (id[0] === "K") return this.stepBox(id);
    id = base(id);
    const node = model.node(id), ghost = !this.owns(id);
    const lines = [];
    if (node.kind !== "op" || ghost) lines.push([shorten(node.name || node.label || node.text, 26), "name"]);
    else {
      if (node.name) lines.push([shorten(node.name, 26), "name"]);
      lines.push([shorten(node.label, 34), "label"]);
    }
    lines.push([(node.role ? "→ " + shorten(node.role, 24) + "  " : "") + (ghost ? "" : shorten(shortType(node.type), 30)), "small"]);
    if (ghost) lines.pop();
    const kind = ghost ? "ghost" : node.kind === "op" ? (node.inlined ? "op inlined" : "op") : "leaf " + node.kind;
    return this.lines(id, lines, `${kind}${node.role && !ghost ? " root" : ""}`);
  }

  lines(id, lines, kind) {
    const w = Math.max(44, ...lines.map(([text, font]) => textWidth(text, font))) + 20, h = lines.length * LINE + 9;
    return { w: Math.ceil(w), h, draw: g => {
      g.classList.add(...kind.split(" "));
      const round = kind.startsWith("leaf") || kind === "ghost" ? h / 2 : 6;
      make("rect", { class: "box", width: Math.ceil(w), height: h, rx: Math.min(round, 16) }, g);
      if (kind.startsWith("op")) this.stripe(id, g, h);
      lines.forEach(([text, font], k) => make("text", { class: font, x: w / 2, y: 16 + k * LINE }, g, text));
    } };
  }

  stripe(id, g, h) {
    const step = model.stepOf(id);
    if (step < 0) return;
    const bar = make("rect", { class: "stripe", x: 0, y: 5, width: 4, height: h - 10, rx: 2 }, g);
    bar.style.setProperty("--hue", model.hue(step));
  }

  foldBox(id) {
    const fold = this.folds.get(id), [title, where] = this.foldTitle(fold);
    const what = `${fold.leaves.length} ${this.letter === "K" ? "steps" : "values"}`;
    const lines = [[shorten(title, 34), "label"], [where ? `${where} · ${what}` : what, "small"]];
    const inner = this.lines(id, lines, "fold");
    return { w: inner.w + 8, h: inner.h + 6, draw: g => {
      make("rect", { class: "card", x: 6, y: 6, width: inner.w, height: inner.h, rx: 6 }, g);
      make("rect", { class: "card", x: 3, y: 3, width: inner.w, height: inner.h, rx: 6 }, g);
      inner.draw(g);
      const hues = [...new Set(fold.leaves.map(model.stepOf))].filter(s => s >= 0).slice(0, 12);
      hues.forEach((s, k) => {
        const dot = make("rect", { class: "stripe", x: 0, y: 5 + k * (inner.h - 10) / hues.length, width: 4, height: (inner.h - 10) / hues.length }, g);
        dot.style.setProperty("--hue", model.hue(s));
      });
    } };
  }

  stepBox(id) {
    const step = data.steps[+id.slice(1)], wide = this.wide.has(id);
    const stored = new Set(step.stored);
    const listed = wide ? step.made : step.stored.slice(0, ROWS);
    const rows = listed.map(r => {
      const node = data.rewritten[r];
      const text = node.name && node.name !== node.text ? `${node.name} = ${node.text}` : node.role ? `${node.role} = ${node.text}` : node.text;
      return { id: "R" + r, text: shorten(text, 38), stored: stored.has(r) };
    });
    const rest = step.made.length - listed.length;
    for (const text of step.unshown) rows.push({ text: shorten(text, 38), stored: true });
    const inRegisters = step.made.length - step.stored.length;
    if (rest > 0) rows.push({ text: rest === inRegisters ? `+ ${rest} that live in registers` : `+ ${rest} more`, more: true });
    const kind = step.kind;
    const foot = [step.counts ? `${ops(step.counts[0])}, ${bytes(step.counts[1] + step.counts[2])}` : shorten(`${step.cost[0]} operations`, 40)];
    if (step.seconds !== null) foot.push(`${time(step.seconds / Math.max(data.calls, 1))} a call`);
    const name = shorten(step.name, 38);
    const w = Math.ceil(Math.max(textWidth(name, "name") + textWidth(kind, "small") + 16, textWidth(foot.join(" · "), "small"),
      ...rows.map(r => textWidth(r.text, "label"))) + 24);
    const h = 24 + rows.length * LINE + 22;
    return { w, h, draw: g => {
      g.classList.add("work");
      make("rect", { class: "box", width: w, height: h, rx: 6 }, g);
      make("path", { class: "head", d: `M0,21 V6 a6,6 0 0 1 6,-6 H${w - 6} a6,6 0 0 1 6,6 V21 z` }, g).style.setProperty("--hue", model.hue(+id.slice(1)));
      make("text", { class: "name left", x: 9, y: 15 }, g, name);
      make("text", { class: "small right", x: w - 9, y: 15 }, g, kind);
      rows.forEach((row, k) => {
        const line = make("g", { class: `row${row.stored ? "" : " register"}${row.more ? " more" : ""}`, transform: `translate(0,${24 + k * LINE})` }, g);
        make("rect", { class: "back", x: 3, width: w - 6, height: LINE, rx: 3 }, line);
        make("text", { class: "label left", x: 10, y: 11 }, line, row.text);
        if (row.id) { line.dataset.id = row.id; this.rows.set(row.id, line); }
      });
      make("text", { class: "small left", x: 10, y: h - 8 }, g, foot.join(" · "));
      const total = data.steps.reduce((sum, s) => sum + (s.seconds || 0), 0);
      if (total) make("rect", { class: "share", x: 3, y: h - 4, width: Math.max(1, (w - 6) * step.seconds / total), height: 3, rx: 1.5 }, g);
    } };
  }

  draw() {
    this.stale = false;
    const ids = this.visible(), place = new Map(ids.map((id, k) => [id, k]));
    this.shown = new Map();
    this.rows = new Map();
    for (const id of ids) for (const leaf of this.folds.get(id)?.leaves || [id]) this.shown.set(leaf, id);
    const edges = new Map();
    for (const [leaf, target] of this.shown)
      for (const operand of this.operands(leaf)) {
        const source = this.shown.get(this.letter + operand);
        if (source && source !== target) edges.set(source + " " + target, [place.get(source), place.get(target)]);
      }
    const links = this.spread([...edges.values()], ids);
    ids.forEach((id, k) => place.set(id, k));
    const boxes = ids.map(id => this.box(id));
    this.drawing = layered(boxes, links);
    this.view.replaceChildren();
    this.elements = new Map();
    this.edges = new Map(ids.map(id => [id, []]));
    const layer = make("g", { class: "edges", "aria-hidden": true }, this.view);
    links.forEach(([a, b], k) => {
      const path = make("path", { d: this.path(this.drawing.routes[k]), "marker-end": `url(#arrow-${this.key})` }, layer);
      this.edges.get(ids[a]).push(path);
      this.edges.get(ids[b]).push(path);
    });
    this.inputs = new Map(ids.map(id => [id, []]));
    this.outputs = new Map(ids.map(id => [id, []]));
    for (const [a, b] of links) { this.inputs.get(ids[b]).push(ids[a]); this.outputs.get(ids[a]).push(ids[b]); }
    ids.forEach((id, k) => {
      const g = make("g", { class: "node", id: `${this.key}-${id}`, transform: `translate(${this.drawing.x[k]},${this.drawing.y[k]})`,
        role: "button", "aria-label": this.label(id) }, this.view);
      g.dataset.id = base(id);
      boxes[k].draw(g);
      this.elements.set(id, g);
    });
    this.place = place;
    this.boxes = boxes;
    if (!this.elements.has(this.cursor)) this.cursor = null;
    this.paint();
  }

  // An input that is used far below gets a copy there, in place of a long edge.
  spread(links, ids) {
    const rank = ranks(ids.length, links), isLeaf = id => id[0] !== "F" && id[0] !== "K" && !this.operands(id).length, copies = new Map();
    this.copies = new Map();
    return links.map(([a, b]) => {
      if (rank[b] - rank[a] <= FAR || !isLeaf(ids[a])) return [a, b];
      const key = `${ids[a]}~${rank[b]}`;
      if (!copies.has(key)) {
        copies.set(key, ids.length);
        if (!this.copies.has(ids[a])) this.copies.set(ids[a], []);
        this.copies.get(ids[a]).push(key);
        ids.push(key);
      }
      return [copies.get(key), b];
    });
  }

  redraw(anchor, old) {       // and keep a box where it was
    const before = this.elements.get(old)?.getBoundingClientRect();
    this.draw();
    const after = this.elements.get(anchor)?.getBoundingClientRect();
    if (before && after) { this.x += before.x - after.x; this.y += before.y - after.y; this.move(); }
    if (this.cursor === null) this.point(anchor);
  }

  label(id) {
    id = base(id);
    if (this.folds.has(id)) return `${this.foldTitle(this.folds.get(id)).join(", ")}, ${this.folds.get(id).leaves.length} inside, folded`;
    if (id[0] === "K") return `step ${+id.slice(1) + 1}, ${data.steps[+id.slice(1)].name}, makes ${data.steps[+id.slice(1)].made.length} values`;
    const node = model.node(id);
    return [node.name, node.text, node.type, node.role].filter(Boolean).join(", ");
  }

  path(points) {
    let d = `M${points[0][0]},${points[0][1]}`;
    for (let k = 1; k < points.length; k++) {
      const [x0, y0] = points[k - 1], [x1, y1] = points[k], middle = (y0 + y1) / 2;
      d += x0 === x1 ? `V${y1}` : `C${x0},${middle} ${x1},${middle} ${x1},${y1}`;
    }
    return d;
  }

  // -- light

  light(family) {
    this.lit = family;
    if (!this.stale) this.paint();
  }

  paint() {
    for (const g of this.painted || []) g.classList.remove("self", "from", "to", "near");
    this.painted = [];
    const strength = { self: 3, to: 2, from: 1 }, roles = new Map();
    const mark = (g, role) => { g.classList.add(role); this.painted.push(g); };
    for (const [id, role] of this.lit) {
      const shown = this.shown.get(id);
      if (shown && strength[role] > (strength[roles.get(shown)] || 0)) roles.set(shown, role);
      if (this.rows.has(id) && strength[role]) mark(this.rows.get(id), role);
    }
    for (const [id, role] of [...roles]) for (const copy of this.copies.get(id) || []) roles.set(copy, role);
    for (const [id, role] of roles) {
      mark(this.elements.get(id), role);
      if (role === "self") {
        for (const path of this.edges.get(id)) mark(path, "near");
        for (const near of [...this.inputs.get(id), ...this.outputs.get(id)]) if (!roles.has(near)) mark(this.elements.get(near), "near");
      }
    }
    this.roles = roles;
    this.svg.classList.toggle("lit", this.lit.size > 0);
  }

  // -- view

  move() { this.view.setAttribute("transform", `translate(${this.x},${this.y}) scale(${this.k})`); }

  fit(least = 0.02) {
    const { width, height } = this.svg.getBoundingClientRect(), d = this.drawing;
    if (!d || !width) return;
    this.k = Math.max(least, Math.min(1.1, (width - 24) / Math.max(d.width, 1), (height - 24) / Math.max(d.height, 1)));
    this.x = d.width * this.k < width ? (width - d.width * this.k) / 2 : 12;
    this.y = d.height * this.k < height ? Math.max(12, (height - d.height * this.k) / 2) : 12;
    this.move();
  }

  start() {
    if (this.stale) this.draw();
    this.fit(0.62);
    const { width } = this.svg.getBoundingClientRect();
    if (this.drawing.width * this.k > width) {          // too wide: begin at the middle of what is on top
      const first = this.drawing.y.reduce((best, y, k) => y < this.drawing.y[best] ? k : best, 0);
      const centre = (this.drawing.x[first] + this.boxes[first].w / 2) * this.k;
      this.x = Math.min(12, Math.max(width - 12 - this.drawing.width * this.k, width / 2 - centre));
      this.move();
    }
  }

  zoom(factor, cx, cy) {
    const box = this.svg.getBoundingClientRect();
    cx ??= box.width / 2; cy ??= box.height / 2;
    const k = Math.max(0.02, Math.min(4, this.k * factor));
    this.x = cx - (cx - this.x) * k / this.k;
    this.y = cy - (cy - this.y) * k / this.k;
    this.k = k;
    this.move();
  }

  rectangle(id) {
    const k = this.place.get(id);
    return [this.drawing.x[k] * this.k + this.x, this.drawing.y[k] * this.k + this.y, this.boxes[k].w * this.k, this.boxes[k].h * this.k];
  }

  reveal() {                  // bring what is lit into view, if none of it is
    if (this.stale || !this.roles?.size) return;
    const { width, height } = this.svg.getBoundingClientRect();
    const boxes = [...this.roles.keys()].map(id => this.rectangle(id));
    if (boxes.some(([x, y, w, h]) => x >= 0 && y >= 0 && x + w <= width && y + h <= height)) return;
    if (this.k < 0.45) { const f = 0.8 / this.k; this.zoom(f); return this.reveal(); }
    const self = [...this.roles].find(([, role]) => role === "self") || [...this.roles][0];
    const [x, y, w, h] = this.rectangle(self[0]);
    this.x += width / 2 - x - w / 2;
    this.y += height / 2 - y - h / 2;
    this.move();
  }

  // -- hands

  tools() {
    const bar = element("div", "tools", this.body);
    const button = (text, label, act) => {
      const b = element("button", "", bar, text);
      b.type = "button"; b.title = label; b.setAttribute("aria-label", `${label}: ${this.app.names[this.key]}`); b.tabIndex = -1;
      b.onclick = act;
    };
    button("+", "Zoom in (+)", () => this.zoom(1.25));
    button("−", "Zoom out (-)", () => this.zoom(0.8));
    button("⤢", "All of it (0)", () => this.fit());
    if (this.folds.size) {
      button("⊞", "Unfold everything (e)", () => this.all(true));
      button("⊟", "Fold everything (c)", () => this.all(false));
    }
  }

  idsOf(id) { return this.folds.get(id)?.leaves || [base(id)]; }

  listen() {
    const svg = this.svg, target = event => event.target.closest?.("[data-id]");
    svg.addEventListener("pointerover", event => {
      if (this.drag) return;
      const found = target(event);
      if (found) this.app.hover(this.idsOf(found.dataset.id), this.folds.get(found.dataset.id) && this);
    });
    svg.addEventListener("pointerout", event => { if (target(event) && !this.drag) this.app.leave(); });
    svg.addEventListener("pointerdown", event => {
      if (event.button) return;
      this.drag = { x: event.clientX, y: event.clientY, x0: this.x, y0: this.y, moved: false, on: target(event)?.dataset.id, pointer: event.pointerId };
    });
    svg.addEventListener("pointermove", event => {
      const d = this.drag;
      if (!d) return;
      const dx = event.clientX - d.x, dy = event.clientY - d.y;
      if (!d.moved && Math.hypot(dx, dy) < 4) return;
      if (!d.moved) { d.moved = true; svg.setPointerCapture(d.pointer); svg.classList.add("dragging"); }
      this.x = d.x0 + dx; this.y = d.y0 + dy;
      this.move();
    });
    const up = event => {
      const d = this.drag;
      this.drag = null;
      svg.classList.remove("dragging");
      if (!d || d.moved || event.type === "pointercancel") return;
      if (!d.on) return this.app.release();
      this.cursor = this.elements.has(d.on) ? d.on : this.cursor;
      if (d.on[0] === "F") this.toggle(d.on);
      else this.app.pin(this.idsOf(d.on), this);
    };
    svg.addEventListener("pointerup", up);
    svg.addEventListener("pointercancel", up);
    svg.addEventListener("dblclick", event => { const found = target(event); if (found && found.dataset.id[0] !== "F") this.toggle(found.closest(".node").dataset.id); });
    svg.addEventListener("wheel", event => {
      event.preventDefault();
      const box = svg.getBoundingClientRect();
      if (event.shiftKey) { this.x -= event.deltaY + event.deltaX; return this.move(); }
      this.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.0022)), event.clientX - box.x, event.clientY - box.y);
    }, { passive: false });
    svg.addEventListener("keydown", event => this.key_(event));
    svg.addEventListener("focus", () => { if (svg.matches(":focus-visible")) this.point(this.cursor || [...this.elements.keys()][0]); });
    svg.addEventListener("blur", () => this.elements.get(this.cursor)?.classList.remove("cursor"));
  }

  point(id) {
    if (!this.elements.has(id)) return;
    this.elements.get(this.cursor)?.classList.remove("cursor");
    this.cursor = id;
    this.elements.get(id).classList.add("cursor");
    this.svg.setAttribute("aria-activedescendant", `${this.key}-${id}`);
    this.app.hover(this.idsOf(id), this.folds.has(id) && this, true);
    const { width, height } = this.svg.getBoundingClientRect(), [x, y, w, h] = this.rectangle(id);
    if (x < 0 || y < 0 || x + w > width || y + h > height) { this.x += width / 2 - x - w / 2; this.y += height / 2 - y - h / 2; this.move(); }
  }

  key_(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.elements.size) return;
    const at = this.cursor || [...this.elements.keys()][0];
    const centre = id => this.drawing.x[this.place.get(id)] + this.boxes[this.place.get(id)].w / 2;
    const row = id => Math.round(this.drawing.y[this.place.get(id)] + this.boxes[this.place.get(id)].h / 2);
    const nearest = list => list.sort((a, b) => Math.abs(centre(a) - centre(at)) - Math.abs(centre(b) - centre(at)))[0];
    const sideways = sign => [...this.elements.keys()].filter(id => Math.abs(row(id) - row(at)) < 2 && (centre(id) - centre(at)) * sign > 0);
    const acts = {
      ArrowUp: () => this.point(nearest([...this.inputs.get(at)])), ArrowDown: () => this.point(nearest([...this.outputs.get(at)])),
      ArrowLeft: () => this.point(nearest(sideways(-1))), ArrowRight: () => this.point(nearest(sideways(1))),
      Enter: () => this.app.pin(this.idsOf(at), this), " ": () => { this.toggle(at); this.point(this.cursor); },
      "+": () => this.zoom(1.25), "=": () => this.zoom(1.25), "-": () => this.zoom(0.8), 0: () => this.fit(),
      e: () => this.all(true), c: () => this.all(false),
    };
    if (!acts[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    acts[event.key]();
  }
}
