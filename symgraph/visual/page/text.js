// Panes of lines: the user's program, the rewrites, the C. Lines are made when they come into view.

const BLOCK = 80;

class LinesPane {
  constructor(key, count, height, app) {
    Object.assign(this, { key, count, height, app, lit: new Map(), byId: new Map() });
    this.body = element("div", "lines " + key);
    this.scroller = element("div", "scroller", this.body);
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "region");
    this.scroller.setAttribute("aria-label", app.names[key]);
    this.ruler = element("div", "ruler", this.body);
    this.ruler.setAttribute("aria-hidden", "true");
    this.inner = element("div", "inner", this.scroller);
    this.blocks = [];
    const seen = new IntersectionObserver(entries => {
      for (const entry of entries) if (entry.isIntersecting) this.build(this.blocks.indexOf(entry.target));
    }, { root: this.scroller, rootMargin: "400px" });
    for (let k = 0; k * BLOCK < count; k++) {
      const block = element("div", "block", this.inner);
      block.style.minHeight = Math.min(BLOCK, count - k * BLOCK) * height + "px";
      this.blocks.push(block);
      seen.observe(block);
    }
    this.rows = new Array(count).fill(null);
    this.scroller.addEventListener("pointerover", event => {
      const id = event.target.closest("[data-id]")?.dataset.id;
      if (id) this.app.hover([id]); else this.app.leave();
    });
    this.scroller.addEventListener("pointerleave", () => this.app.leave());
    this.scroller.addEventListener("click", event => {
      if (String(getSelection())) return;
      const id = event.target.closest("[data-id]")?.dataset.id;
      if (id) this.app.pin([id], this); else if (!event.target.closest("button")) this.app.release();
    });
    this.scroller.addEventListener("keydown", event => this.keys(event));
    this.scroller.addEventListener("wheel", () => cancelAnimationFrame(this.showing), { passive: true });
  }

  build(k) {
    const block = this.blocks[k];
    if (block.childElementCount) return;
    for (let n = k * BLOCK; n < Math.min(this.count, (k + 1) * BLOCK); n++) {
      const row = this.rows[n] = this.row(n);
      block.append(row);
      const role = this.lit.get(row.dataset.id);
      if (role) row.classList.add(role);
    }
    block.style.minHeight = "";
  }

  rowOf(n) {
    this.build(Math.floor(n / BLOCK));
    return this.rows[n];
  }

  light(family) {
    for (const row of this.painted || []) row.classList.remove("self", "from", "to", "step");
    this.painted = [];
    this.lit = family;
    const marks = [];
    for (const [id, role] of family) {
      const n = this.byId.get(id);
      if (n === undefined) continue;
      const row = this.rows[n];
      if (row) { row.classList.add(role); this.painted.push(row); }
      marks.push([n, role]);
    }
    this.found = marks.map(([n]) => n).sort((a, b) => a - b);
    this.scroller.classList.toggle("lit", family.size > 0);
    this.ruler.replaceChildren();
    const thin = Math.ceil(marks.length / 200), total = this.scroller.scrollHeight || 1;
    marks.filter((_, k) => k % thin === 0).forEach(([n, role]) => {
      element("i", role, this.ruler).style.top = `${100 * this.top(n) / total}%`;
    });
  }

  top(n) {
    const block = this.blocks[Math.floor(n / BLOCK)], size = Math.min(BLOCK, this.count - n + n % BLOCK);
    return this.rows[n]?.offsetParent ? this.rows[n].offsetTop : block.offsetTop + block.offsetHeight * (n % BLOCK) / size;
  }

  reveal() {
    const self = this.found?.find(n => this.lit.get(this.ids[n]) === "self"), marked = this.found?.find(n => this.marked?.has(this.ids[n]));
    const n = self ?? marked ?? this.found?.[0];
    if (n === undefined) return;
    const view = this.scroller.getBoundingClientRect();
    const inside = this.found.some(k => {
      const box = this.rows[k]?.getBoundingClientRect();
      return box && box.height && box.top >= view.top && box.bottom <= view.bottom;
    });
    if (!inside || self !== undefined) this.show(n, self !== undefined && inside);
  }

  show(n, onlyIfHidden = false, frames = 8) {
    const row = this.rowOf(n), view = this.scroller.getBoundingClientRect();
    this.uncover?.(n);
    for (let again = 0; again < 2; again++) {              // making lines on the way may move them
      const box = row.getBoundingClientRect();
      if (onlyIfHidden && box.top >= view.top && box.bottom <= view.bottom) break;
      this.scroller.scrollTop += box.top - view.top - Math.min(view.height / 3, 160);
    }
    cancelAnimationFrame(this.showing);                    // and so may drawing them, where many are folded
    if (frames) this.showing = requestAnimationFrame(() => this.show(n, true, frames - 1));
  }

  keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      let n = (this.cursor ?? (step > 0 ? -1 : this.count)) + step;
      while (n >= 0 && n < this.count && !this.ids[n]) n += step;
      if (n < 0 || n >= this.count) return;
      this.cursor = n;
      this.show(n, true);
      this.app.hover([this.ids[n]], null, true);
    } else if (event.key === "Enter" && this.cursor !== undefined) this.app.pin([this.ids[this.cursor]], this);
  }
}

const WORDS = {
  c: new Set("void int double float char const static return if else for while sizeof enum typedef struct restrict inline bool int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t SG_KERNEL SG_LANES".split(" ")),
  python: new Set("def return for in if else elif while import from as class with lambda not and or is None True False yield try except raise pass".split(" ")),
};
const TOKENS = {
  c: /(\/\*.*?(?:\*\/|$)|\/\/.*$|^\s*#.*$)|("(?:[^"\\]|\\.)*")|(\b\d[\w.]*(?:[eE][-+]\d+)?)|([A-Za-z_]\w*)/g,
  python: /(#.*$)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(\b\d[\w.]*)|([A-Za-z_]\w*)/g,
};

// Text with its words in colours, as nodes.
function coloured(parent, text, language) {
  let at = 0;
  for (const match of text.matchAll(TOKENS[language])) {
    if (match.index > at) parent.append(text.slice(at, match.index));
    const word = match[0], kind = match[1] ? "comment" : match[2] ? "string" : match[3] ? "literal" : WORDS[language].has(word) ? "keyword" : "";
    if (kind) element("span", kind, parent, word); else parent.append(word);
    at = match.index + word.length;
  }
  if (at < text.length) parent.append(text.slice(at));
}

function dots(parent, steps) {
  const gutter = element("span", "dots", parent);
  for (const step of [...new Set(steps)].filter(s => s >= 0).slice(0, 4)) element("i", "", gutter).style.setProperty("--hue", model.hue(step));
}

class ProgramPane extends LinesPane {
  constructor(key, app) {
    const rows = [];
    for (const [name, lines] of data.lines.files) {
      rows.push({ head: name });
      lines.forEach(([id, number, text], k) => {
        if (k && lines[k - 1][1] !== number - 1) rows.push({ gap: true });
        rows.push({ id: id >= 0 ? "L" + id : "", number, text });
      });
    }
    super(key, rows.length, 18, app);
    this.data = rows;
    this.ids = rows.map(row => row.id || "");
    this.ids.forEach((id, n) => { if (id) this.byId.set(id, n); });
    this.scroller.classList.add("code");
  }

  row(n) {
    const { head, gap, id, number, text } = this.data[n];
    const row = element("div", head ? "line head" : gap ? "line gap" : id ? "line made" : "line");
    if (head || gap) { row.textContent = head || "⋯"; return row; }
    if (id) row.dataset.id = id;
    dots(row, id ? [...(model.down.get(id) || [])].map(model.stepOf) : []);
    element("span", "number", row, String(number));
    coloured(element("code", "", row), text, "python");
    return row;
  }
}

class RewritesPane extends LinesPane {
  constructor(key, app) {
    super(key, data.rewrites.length, 74, app);
    this.ids = data.rewrites.map((_, k) => "S" + k);
    this.ids.forEach((id, n) => this.byId.set(id, n));
    if (!data.rewrites.length) element("p", "empty", this.inner, "No rule fired.");
  }

  row(n) {
    const firing = data.rewrites[n], [rule, why] = data.rules[firing.rule];
    const row = element("div", "rewrite");
    row.dataset.id = "S" + n;
    const head = element("div", "rule", row);
    element("span", "number", head, String(n + 1));
    element("b", "", head, rule);
    element("span", "where", head, model.place(firing.line)[0]);
    element("div", "why", row, why);
    element("code", "before", row, firing.before);
    element("code", "after", row, firing.after);
    return row;
  }
}

class CPane extends LinesPane {
  constructor(key, app) {
    const text = data.c.split("\n");
    super(key, text.length, 18, app);
    this.text = text;
    this.ids = text.map((_, n) => "C" + (n + 1));
    this.ids.forEach((id, n) => this.byId.set(id, n));
    this.marked = new Set(model.marks.values());
    this.scroller.classList.add("code");
    const mine = n => model.ofC[n + 1];
    const header = Math.max(0, text.findIndex(line => line.endsWith("*/"))), first = text.findIndex((_, n) => mine(n));
    this.hidden = first - header > 12 ? [header + 2, first - 1] : null;
    this.inComment = [];
    let inside = false;
    text.forEach((line, n) => {
      this.inComment[n] = inside;
      const open = line.lastIndexOf("/*"), close = line.lastIndexOf("*/");
      if (open > close) inside = true; else if (close >= 0) inside = false;
    });
    if (this.hidden) {
      const [a, b] = this.hidden;
      this.lid = element("button", "lid", null, `▸ ${b - a} lines: includes, helpers, routines`);
      this.lid.type = "button";
      this.lid.onclick = () => this.uncover(a);
    }
  }

  row(n) {
    const row = element("div", "line");
    row.dataset.id = "C" + (n + 1);
    const steps = model.ofC[n + 1];
    if (steps) { row.classList.add("made"); row.style.setProperty("--hue", model.hue(steps[0])); }
    element("span", "number", row, String(n + 1));
    const code = element("code", "", row);
    if (this.inComment[n]) {
      const end = this.text[n].indexOf("*/");
      element("span", "comment", code, end < 0 ? this.text[n] : this.text[n].slice(0, end + 2));
      if (end >= 0) coloured(code, this.text[n].slice(end + 2), "c");
    } else coloured(code, this.text[n], "c");
    if (this.hidden && n >= this.hidden[0] && n < this.hidden[1]) row.classList.add("covered");
    return row;
  }

  build(k) {
    super.build(k);
    const first = this.hidden?.[0];
    if (first !== undefined && Math.floor(first / BLOCK) === k) this.rows[first].before(this.lid);
  }

  uncover(n) {
    if (!this.hidden || n < this.hidden[0] || n >= this.hidden[1]) return;
    this.inner.classList.add("uncovered");
  }
}
