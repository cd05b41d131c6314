// A layered drawing of a graph without cycles: boxes in rows, edges running down. It is computed here and not when the
// page is made, for every fold that is opened makes another graph. Source: Sugiyama, Tagawa and Toda (1981); crossings are
// counted as by Barth, Mutzel and Jünger (2004); places along a layer by isotonic regression.

const { layered, ranks } = (() => {
  const BESIDE = 22, PASSING = 12, BELOW = 30, SLANT = 0.1, STEEPEST = 3, LARGE = 3000, WAYPOINTS = 4000;

  function layered(sizes, edges) {
    const count = sizes.length;
    const rank = ranks(count, edges);
    const items = { w: sizes.map(s => s.w), h: sizes.map(s => s.h), rank, above: [], below: [] };
    for (let k = 0; k < count; k++) { items.above.push([]); items.below.push([]); }
    const { chains, loose } = waypoints(items, edges, count);
    let layers = [];
    items.rank.forEach((r, item) => (layers[r] ||= []).push(item));
    layers = order(layers, items);
    columns(layers, items, count);
    const bottoms = rows(layers, items);
    const routes = edges.map(([a, b], k) => route(items, chains, loose, bottoms, k, a, b, port(items, edges, chains, loose)));
    return {
      x: items.x.slice(0, count).map((x, k) => x - items.w[k] / 2), y: items.y.slice(0, count), routes,
      width: items.x.reduce((most, x, k) => Math.max(most, x + items.w[k] / 2), 0), height: bottoms.at(-1)?.bottom || 0,
    };
  }

  function ranks(count, edges) {
    const above = Array.from({ length: count }, () => []), below = Array.from({ length: count }, () => []);
    for (const [a, b] of edges) { below[a].push(b); above[b].push(a); }
    const waiting = above.map(list => list.length), rank = new Array(count).fill(0), found = [];
    for (let k = 0; k < count; k++) if (!waiting[k]) found.push(k);
    for (let k = 0; k < found.length; k++)
      for (const y of below[found[k]]) {
        rank[y] = Math.max(rank[y], rank[found[k]] + 1);
        if (!--waiting[y]) found.push(y);
      }
    for (const x of found.reverse()) {                  // what needs only inputs stands by its users, and so do they
      const early = below[x].length > above[x].length || above[x].every(y => !above[y].length);
      if (early && below[x].length) rank[x] = below[x].reduce((least, y) => Math.min(least, rank[y]), Infinity) - 1;
    }
    const first = rank.reduce((least, r) => Math.min(least, r), Infinity);
    return rank.map(r => r - first);
  }

  // Long edges run through waypoints, one a layer, that all edges of a source share.
  function waypoints(items, edges, count) {
    const chains = Array.from({ length: count }, () => []), loose = new Set();
    let left = WAYPOINTS;
    const spans = edges.map(([a, b]) => items.rank[b] - items.rank[a]);
    const join = (a, b) => { items.below[a].push(b); items.above[b].push(a); };
    for (const k of edges.map((_, k) => k).sort((i, j) => spans[i] - spans[j])) {
      const chain = chains[edges[k][0]];
      if (spans[k] - 1 - chain.length > left) { loose.add(k); continue; }
      while (chain.length < spans[k] - 1) {
        left--;
        const item = items.rank.length;
        items.rank.push(items.rank[edges[k][0]] + chain.length + 1);
        items.w.push(0); items.h.push(0); items.above.push([]); items.below.push([]);
        join(chain.at(-1) ?? edges[k][0], item);
        chain.push(item);
      }
    }
    edges.forEach(([a, b], k) => { if (!loose.has(k)) join(spans[k] > 1 ? chains[a][spans[k] - 2] : a, b); });
    return { chains, loose };
  }

  function order(layers, items) {
    const size = items.rank.length, sweeps = size > LARGE ? 4 : 20;
    const place = new Array(size).fill(0);
    const number = () => layers.forEach(layer => layer.forEach((item, k) => { place[item] = k; }));
    number();
    let best = layers.map(l => [...l]), fewest = crossings(layers, items, place), waited = 0;
    for (let sweep = 0; sweep < sweeps && fewest && waited < 4; sweep++) {
      const near = sweep % 2 ? items.below : items.above;
      const ways = sweep % 2 ? [...layers.keys()].reverse() : layers.keys();
      for (const k of ways) {
        const centre = new Map();
        for (const item of layers[k]) {
          const list = near[item];
          centre.set(item, list.length ? list.reduce((sum, y) => sum + place[y], 0) / list.length : place[item]);
        }
        layers[k].sort((a, b) => centre.get(a) - centre.get(b) || place[a] - place[b]);
        layers[k].forEach((item, at) => { place[item] = at; });
      }
      const now = crossings(layers, items, place);
      if (now < fewest) { best = layers.map(l => [...l]); fewest = now; waited = 0; } else waited++;
    }
    return best;
  }

  function crossings(layers, items, place) {
    let total = 0;
    for (const layer of layers.slice(1)) {
      const ends = [];
      for (const b of layer) for (const end of items.above[b].map(a => place[a]).sort((x, y) => x - y)) ends.push(end);
      const size = ends.reduce((most, end) => Math.max(most, end), 0) + 2, tree = new Int32Array(size + 1);
      let seen = 0;
      for (const end of ends) {
        let upTo = 0;
        for (let k = end + 1; k > 0; k -= k & -k) upTo += tree[k];
        total += seen - upTo;
        seen++;
        for (let k = end + 1; k <= size; k += k & -k) tree[k]++;
      }
    }
    return total;
  }

  function columns(layers, items, count) {
    const isWaypoint = item => item >= count;
    const offsets = layers.map(layer => {
      const at = [0];
      for (let k = 1; k < layer.length; k++) {
        const gap = isWaypoint(layer[k - 1]) || isWaypoint(layer[k]) ? PASSING : BESIDE;
        at.push(at[k - 1] + (items.w[layer[k - 1]] + items.w[layer[k]]) / 2 + gap);
      }
      return at;
    });
    items.x = new Array(items.rank.length).fill(0);
    layers.forEach((layer, k) => layer.forEach((item, i) => { items.x[item] = offsets[k][i] - offsets[k].at(-1) / 2; }));
    const pull = (a, b) => isWaypoint(a) && isWaypoint(b) ? 8 : isWaypoint(a) || isWaypoint(b) ? 0.5 :
      !items.above[a].length && items.below[a].length === 1 && items.above[b].length > 1 ? 0.1 : 1;
    const rounds = items.rank.length > LARGE ? 6 : 24;
    for (let round = 0; round < rounds; round++) {
      const both = round >= rounds / 3, upwards = round % 2 === 1;
      for (const k of upwards ? [...layers.keys()].reverse() : layers.keys())
        settle(items, layers[k], offsets[k], item => {
          let weight = 0, place = 0;
          const take = (list, weigh) => { for (const y of list) { const p = weigh(y); weight += p; place += p * items.x[y]; } };
          if (both || !upwards) take(items.above[item], y => pull(y, item));
          if (both || upwards) take(items.below[item], y => pull(item, y));
          return [place, weight];
        });
    }
    const left = items.x.reduce((least, x, k) => Math.min(least, x - items.w[k] / 2), Infinity);
    items.x = items.x.map(x => x - left);
  }

  // The least squares of distances to neighbours, in order and apart.
  function settle(items, layer, offsets, wish) {
    const blocks = [];
    layer.forEach((item, k) => {
      const [place, weight] = wish(item);
      blocks.push(weight ? [place / weight - offsets[k], weight, 1] : [items.x[item] - offsets[k], 1e-3, 1]);
      while (blocks.length > 1 && blocks.at(-2)[0] > blocks.at(-1)[0]) {
        const [p, w, n] = blocks.pop(), before = blocks.at(-1);
        before[0] = (before[0] * before[1] + p * w) / (before[1] + w);
        before[1] += w;
        before[2] += n;
      }
    });
    let k = 0;
    for (const [place, , n] of blocks) for (let i = 0; i < n; i++, k++) items.x[layer[k]] = place + offsets[k];
  }

  function rows(layers, items) {
    items.y = new Array(items.rank.length).fill(0);
    const found = [];
    let y = 0;
    layers.forEach((layer, k) => {
      if (k) {
        let far = 0;
        for (const b of layer) for (const a of items.above[b]) far = Math.max(far, Math.abs(items.x[a] - items.x[b]));
        y += Math.min(BELOW + SLANT * far, STEEPEST * BELOW);
      }
      const height = layer.reduce((most, item) => Math.max(most, items.h[item]), 0);
      for (const item of layer) items.y[item] = y + (height - items.h[item]) / 2;
      found.push({ top: y, bottom: y + height });
      y += height;
    });
    return found;
  }

  const lastBefore = (items, chains, a, b) => {
    const span = items.rank[b] - items.rank[a];
    return span > 1 ? chains[a][span - 2] : a;
  };

  // Where each edge ends along the top of its box.
  function port(items, edges, chains, loose) {
    if (items.ports) return items.ports;
    const arriving = new Map();
    edges.forEach(([, b], k) => arriving.has(b) ? arriving.get(b).push(k) : arriving.set(b, [k]));
    items.ports = [];
    for (const [b, list] of arriving) {
      const at = k => items.x[loose.has(k) ? edges[k][0] : lastBefore(items, chains, ...edges[k])];
      list.sort((i, j) => at(i) - at(j));
      const step = Math.max(0, Math.min(14, (items.w[b] - 14) / Math.max(list.length - 1, 1)));
      list.forEach((k, n) => { items.ports[k] = items.x[b] + (n - (list.length - 1) / 2) * step; });
    }
    return items.ports;
  }

  function route(items, chains, loose, bands, k, a, b, ports) {
    const start = [items.x[a], items.y[a] + items.h[a]], end = [ports[k], items.y[b]];
    if (loose.has(k)) return [start, end];
    const points = [start, [items.x[a], bands[items.rank[a]].bottom]];
    for (let r = items.rank[a] + 1; r < items.rank[b]; r++) {
      const x = items.x[chains[a][r - items.rank[a] - 1]];
      points.push([x, bands[r].top], [x, bands[r].bottom]);
    }
    points.push([ports[k], bands[items.rank[b]].top], end);
    return points.filter((p, i) => i === 0 || i === points.length - 1 || points[i - 1][0] !== p[0] || points[i + 1][0] !== p[0]);
  }

  return { layered, ranks };
})();
