// What belongs to what. A thing has an id: a letter for its stage and its number there, as in W12.
//   L line of the user's program   W value as written   R value as rewritten   K step   S firing of a rule   C line of C

const data = JSON.parse(document.getElementById("data").textContent);

const model = (() => {
  const up = new Map(), down = new Map(), fired = new Map();
  const lineCount = data.c ? data.c.split("\n").length : 0;

  const add = (map, from, to) => {
    const known = map.get(from);
    if (known) known.add(to); else map.set(from, new Set([to]));
  };
  const link = (a, b) => { add(down, a, b); add(up, b, a); };

  data.written.forEach((node, k) => {
    link("L" + node.line, "W" + k);
    for (const r of node.became) link("W" + k, "R" + r);
  });
  data.rewritten.forEach((node, k) => {
    if (!up.has("R" + k)) link("L" + node.line, "R" + k);      // made by a rule, from nothing that was written
    for (const s of node.steps) link("R" + k, "K" + s);
  });
  const ofC = new Array(lineCount + 1).fill(null);              // the steps behind each line of C
  data.steps.forEach((step, k) => {
    for (const [first, last] of step.lines)
      for (let n = first; n <= last; n++) {
        (ofC[n] ||= []).push(k);
        add(down, "K" + k, "C" + n);
      }
  });
  ofC.forEach((steps, n) => { if (steps) up.set("C" + n, new Set(steps.map(k => "K" + k))); });
  const marked = new Map(data.marks.map(([n, r]) => ["C" + n, "R" + r]));   // lines of comments that speak of one value
  const marks = new Map(data.marks.map(([n, r]) => ["R" + r, "C" + n]));
  data.rewrites.forEach((firing, k) => {
    for (const w of firing.written) { add(fired, "W" + w, "S" + k); add(up, "S" + k, "W" + w); }
    for (const r of firing.rewritten) { add(fired, "R" + r, "S" + k); add(down, "S" + k, "R" + r); }
    if (!firing.written.length) add(up, "S" + k, "L" + firing.line);
  });

  const closure = (start, map) => {
    const seen = new Set(), stack = [start];
    while (stack.length) for (const next of map.get(stack.pop()) || []) if (!seen.has(next)) { seen.add(next); stack.push(next); }
    return seen;
  };

  // Everything that belongs to a thing: a Map from id to "self", "from", "to" or "step".
  function family(id) {
    const found = new Map();
    if (id[0] === "C") {
      const value = marked.get(id);
      for (const start of value ? [value] : up.get(id) || [])
        for (const [other, role] of family(start)) found.set(other, role === "self" ? "from" : role);
      for (const other of [...found.keys()]) if (other[0] === "C" && value === undefined) found.set(other, "to");
      found.set(id, "self");
      return found;
    }
    for (const other of closure(id, down)) found.set(other, "to");
    for (const other of closure(id, up)) found.set(other, "from");
    const own = [id];
    if (id[0] === "L") for (const other of down.get(id) || []) own.push(other);
    if (id[0] === "K") for (const k of data.steps[+id.slice(1)].made) own.push("R" + k);
    if (id[0] === "R") for (const other of up.get(id) || []) own.push(other);
    for (const one of own) for (const step of fired.get(one) || []) if (!found.has(step)) found.set(step, "step");
    found.set(id, "self");
    return found;
  }

  const hue = k => (k * 137.508 + 205) % 360;                   // golden angle: neighbours differ most
  const stepOf = id => {
    const n = +id.slice(1);
    if (id[0] === "K") return n;
    if (id[0] === "R") return data.rewritten[n].kind === "op" ? data.rewritten[n].steps[0] ?? -1 : -1;
    if (id[0] === "W") {
      const r = data.written[n].became[0];
      return r === undefined || data.written[n].kind !== "op" ? -1 : data.rewritten[r].steps[0] ?? -1;
    }
    return id[0] === "C" && ofC[n] ? ofC[n][0] : -1;
  };

  const node = id => id[0] === "W" ? data.written[+id.slice(1)] : id[0] === "R" ? data.rewritten[+id.slice(1)] : null;
  const place = line => data.lines.made[line];
  const lineText = line => data.lines.made[line][1].replace(/\s+#(\s.*)?$/, "").trim();

  // A thing in a few words.
  function title(id) {
    const n = +id.slice(1);
    switch (id[0]) {
      case "L": return place(n)[0];
      case "K": return data.steps[n].name;
      case "S": return data.rules[data.rewrites[n].rule][0];
      case "C": return "line " + n;
    }
    const { name, label, text, kind } = node(id);
    return name || (kind === "op" ? (/[·•]/.test(label) || label.length < 3 ? text : label) : text);
  }

  return { family, hue, stepOf, node, place, lineText, title, up, down, marks, ofC, lineCount };
})();
