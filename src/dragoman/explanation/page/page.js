"use strict";
// The page reads without this. It adds: one method at a time, arrow keys and pointing over tables of
// weights, the source shaded by what a step of the answer comes from, a layer and head seen large.
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const detail = document.getElementById("detail");
  const places = all(".place"), pieces = all(".piece");
  const methods = all(".method");
  let step = null;

  const current = () => methods.find((method) => !method.hidden);
  const tableOf = (method) => method && method.querySelector("table.heat");
  const cellsOf = (row) => [...row.cells].slice(1).filter((cell) => !cell.classList.contains("error"));
  const strength = (cell) => parseFloat(cell.style.getPropertyValue("--w")) || 0;

  // --- what a step of the answer comes from, on the source itself
  function shade(chosen) {
    step = chosen;
    pieces.forEach((piece, number) => {
      piece.classList.toggle("chosen", number === step);
      if (piece.hasAttribute("role")) piece.setAttribute("aria-pressed", String(number === step));
    });
    const table = tableOf(current());
    const row = table && step !== null ? table.querySelector(`tr[data-t="${step}"]`) : null;
    const cells = row ? cellsOf(row) : [];
    places.forEach((place, number) => {
      const cell = cells[number];
      place.classList.toggle("lit", Boolean(cell));
      place.classList.toggle("against", Boolean(cell) && cell.classList.contains("against"));
      place.classList.toggle("top", Boolean(cell) && cell.classList.contains("top"));
      place.style.setProperty("--w", cell ? strength(cell) : 0);
    });
    return row;
  }

  function tell(row) {
    if (!row) return;
    const heads = cellsOf(row.closest("table").tHead.rows[0]);
    const top = cellsOf(row)
      .map((cell, number) => [strength(cell), heads[number].innerText, cell.innerText])
      .sort((one, other) => other[0] - one[0])
      .slice(0, 3)
      .filter(([weight]) => weight > 0)
      .map(([, name, text]) => `${name} ${text}`);
    detail.textContent = `“${row.cells[0].innerText}” comes from ${top.join(", ") || "nothing in particular"}`;
  }

  function point(cell) {
    const row = cell.parentElement, table = row.closest("table");
    all(".at", table).forEach((head) => head.classList.remove("at"));
    const head = table.tHead.rows[0].cells[cell.cellIndex];
    head.classList.add("at");
    row.cells[0].classList.add("at");
    if (table.closest(".method")) shade(Number(row.dataset.t));
    detail.textContent = `“${row.cells[0].innerText}” from “${head.innerText}”: ${cell.innerText}`
      + (cell.classList.contains("top") ? ", the strongest of this step" : "");
  }

  pieces.forEach((piece, number) => {
    if (!methods.some((method) => tableOf(method))) return;
    piece.tabIndex = number ? -1 : 0;
    piece.setAttribute("role", "button");
    piece.setAttribute("aria-pressed", "false");
    const choose = () => tell(shade(number));
    piece.addEventListener("focus", choose);
    piece.addEventListener("click", choose);
    piece.addEventListener("mouseenter", choose);
  });
  onArrows(pieces);

  // --- tables of weights: one stop for the tab key, arrows inside
  all("table.heat").forEach((table) => {
    const rows = [...table.tBodies[0].rows];
    table.setAttribute("role", "grid");
    rows.forEach((row, y) => [...row.cells].slice(1).forEach((cell, x) => {
      cell.tabIndex = x || y ? -1 : 0;
      cell.addEventListener("focus", () => point(cell));
      cell.addEventListener("mouseenter", () => point(cell));
    }));
    table.addEventListener("keydown", (event) => {
      const cell = event.target.closest("td");
      if (!cell || !cell.closest("tbody")) return;
      let x = cell.cellIndex, y = cell.parentElement.sectionRowIndex;
      const last = cell.parentElement.cells.length - 1;
      const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
      if (event.key in moves) [x, y] = [x + moves[event.key][0], y + moves[event.key][1]];
      else if (event.key === "Home") x = 1;
      else if (event.key === "End") x = last;
      else return;
      event.preventDefault();
      const next = rows[Math.min(Math.max(y, 0), rows.length - 1)].cells[Math.min(Math.max(x, 1), last)];
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });

  function onArrows(parts) {
    parts.forEach((part, number) => part.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: number - 1, ArrowRight: number + 1, Home: 0, End: parts.length - 1 }[event.key];
      if (to === undefined || !parts[to]) return;
      event.preventDefault();
      part.tabIndex = -1;
      parts[to].tabIndex = 0;
      parts[to].focus();
    }));
  }

  // --- one method at a time
  if (methods.length > 1) {
    const list = document.createElement("div");
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "method");
    const tabs = methods.map((method) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.id = `${method.id}-tab`;
      tab.textContent = method.querySelector("h3").textContent;
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", method.id);
      method.setAttribute("role", "tabpanel");
      list.append(tab);
      return tab;
    });
    const show = (number) => {
      methods.forEach((method, place) => {
        method.hidden = place !== number;
        tabs[place].setAttribute("aria-selected", String(place === number));
        tabs[place].tabIndex = place === number ? 0 : -1;
      });
      shade(step);
    };
    tabs.forEach((tab, number) => {
      tab.addEventListener("click", () => show(number));
      tab.addEventListener("focus", () => show(number));
    });
    onArrows(tabs);
    methods[0].before(list);
    show(0);
  }

  // --- a layer and head seen large, in the table of attention
  const stored = document.getElementById("part-weights");
  const attention = methods.find((method) => method.dataset.method === "attention");
  const table = tableOf(attention);
  if (!stored || !table) return;
  const weights = JSON.parse(stored.textContent);
  const caption = table.caption, words = caption.textContent;
  const kept = [...table.tBodies[0].rows].map((row) =>
    cellsOf(row).map((cell) => [cell.textContent, cell.getAttribute("style"), cell.className]));
  const buttons = all(".part figcaption").map((name, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name.textContent;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      const is_on = button.getAttribute("aria-pressed") === "true";
      buttons.forEach((other) => other.setAttribute("aria-pressed", "false"));
      button.setAttribute("aria-pressed", String(!is_on));
      if (is_on) restore();
      else enlarge(weights[number], name.dataset.part);
    });
    name.dataset.part = name.textContent;
    name.replaceChildren(button);
    return button;
  });

  function fill(cell, text, style, className) {
    cell.textContent = text;
    if (style) cell.setAttribute("style", style);
    else cell.removeAttribute("style");
    cell.className = className;
  }

  function restore() {
    caption.textContent = words;
    [...table.tBodies[0].rows].forEach((row, y) => cellsOf(row).forEach((cell, x) => fill(cell, ...kept[y][x])));
    shade(step);
  }

  function enlarge(weights_TS, part) {
    caption.textContent = `Attention (${part}): weights in per cent of the source for each step of the answer`;
    [...table.tBodies[0].rows].forEach((row, y) => {
      const largest = Math.max(...weights_TS[y]);
      cellsOf(row).forEach((cell, x) => {
        const weight = weights_TS[y][x];
        fill(cell, String(Math.round(weight / 10)), weight >= 5 ? `--w:${weight / 1000}` : null,
          weight && weight === largest ? "top" : "");
      });
    });
    const tab = document.getElementById(`${attention.id}-tab`);
    if (tab) tab.click();
    table.scrollIntoView({ block: "nearest" });
    shade(step);
    detail.textContent = `${part} is shown in the table of attention`;
  }
})();
