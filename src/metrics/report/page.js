(() => {
  "use strict";
  const table = document.getElementById("tenants");
  if (!table) return;
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells], PAGE = 100;
  // Rows are taken from the page once; of those that are not shown none stays in it.
  const rows = [...body.rows].map((row, at) => ({
    row, at,
    texts: [row.cells[0].textContent, row.cells[1].textContent],
    keys: row.dataset.k.split(" ").map(k => k === "-" ? null : +k),
  }));
  const query = document.getElementById("query"), alerting = document.getElementById("alerting");
  const previous = document.getElementById("previous"), next = document.getElementById("next");
  const range = document.getElementById("range");
  const TEXTS = 2, alerts = heads.findIndex(h => h.dataset.key === "alerts") - TEXTS;
  const initial = { sort: "size", dir: "", q: "", alerts: false, page: 1 };
  let state = { ...initial };

  const read = () => {
    const hash = new URLSearchParams(location.hash.slice(1));
    const sort = hash.get("sort");
    state = {
      sort: heads.some(h => h.dataset.key === sort) ? sort : initial.sort,
      dir: hash.get("dir") || "",
      q: hash.get("q") || "",
      alerts: hash.get("alerts") === "1",
      page: Math.max(1, parseInt(hash.get("page"), 10) || 1),
    };
    query.value = state.q;
    alerting.checked = state.alerts;
  };
  const write = () => {
    const hash = new URLSearchParams();
    hash.set("sort", state.sort);
    if (state.dir) hash.set("dir", state.dir);
    if (state.q) hash.set("q", state.q);
    if (state.alerts) hash.set("alerts", "1");
    if (state.page > 1) hash.set("page", state.page);
    history.replaceState(null, "", "#" + hash);
  };
  // Names begin with A, figures with the largest.
  const upwards = column => state.dir ? state.dir === "asc" : column < TEXTS;

  const show = () => {
    const column = heads.findIndex(h => h.dataset.key === state.sort), up = upwards(column) ? 1 : -1;
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", up > 0 ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    });
    const wanted = state.q.trim().toLowerCase();
    const chosen = rows.filter(r =>
      (!wanted || r.texts.some(t => t.toLowerCase().includes(wanted))) && (!state.alerts || r.keys[alerts] > 0));
    chosen.sort((a, b) => {
      if (column < TEXTS) {
        const [x, y] = [a.texts[column], b.texts[column]];
        return (x < y ? -1 : x > y ? 1 : 0) * up || a.at - b.at;
      }
      const [x, y] = [a.keys[column - TEXTS], b.keys[column - TEXTS]];
      // What is unknown stands last in both directions.
      if (x === null || y === null) return (x === null) - (y === null) || a.at - b.at;
      return (x - y) * up || a.at - b.at;
    });
    const pages = Math.max(1, Math.ceil(chosen.length / PAGE));
    state.page = Math.min(state.page, pages);
    const from = (state.page - 1) * PAGE, shown = chosen.slice(from, from + PAGE);
    body.replaceChildren(...shown.map(r => r.row));
    const n = x => x.toLocaleString("en");
    range.textContent = chosen.length ? `${n(from + 1)}\u2013${n(from + shown.length)} of ${n(chosen.length)}` : "none";
    previous.disabled = state.page <= 1;
    next.disabled = state.page >= pages;
  };
  const change = changed => { Object.assign(state, changed); show(); write(); };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const again = state.sort === head.dataset.key;
      change({ sort: head.dataset.key, dir: again ? (upwards(column) ? "desc" : "asc") : "", page: 1 });
    });
  });
  query.addEventListener("input", () => change({ q: query.value, page: 1 }));
  alerting.addEventListener("change", () => change({ alerts: alerting.checked, page: 1 }));
  previous.addEventListener("click", () => change({ page: state.page - 1 }));
  next.addEventListener("click", () => change({ page: state.page + 1 }));
  addEventListener("hashchange", () => { read(); show(); });
  read();
  show();
})();
