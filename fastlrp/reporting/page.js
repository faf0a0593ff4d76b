"use strict";
(() => {
  const data = JSON.parse(document.getElementById("cross-section").textContent);
  const place = document.getElementById("browse");
  if (!place || !data) return;
  const PAGE = 25;
  const unit = data.unit;
  const assets = data.assets.map(([name, rank, prediction, columns, parts, rest]) =>
    ({ name, rank, prediction, columns, parts, rest, key: name.toLowerCase() }));
  const left = data.n > assets.length ? `; ${(data.n - assets.length).toLocaleString("en")} in the middle have no room here` : "";
  let shown = assets, first = 0, by = { column: "rank", down: false };

  const make = (tag, attributes = {}, ...inside) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...inside);
    return element;
  };
  const fixed = data.digits >= 0 && data.digits <= 6;
  const digits = (x) => (fixed ? x.toFixed(data.digits) : x.toPrecision(3)).replace("-", "\u2212");
  const signed = (x) => (x > 0 ? "+" : "") + digits(x);

  const columns = [
    { id: "name", title: place.dataset.asset, of: (a) => a.key },
    { id: "rank", title: "rank", of: (a) => a.rank, text: (a) => a.rank.toLocaleString("en") },
    { id: "prediction", title: "prediction", of: (a) => a.prediction, text: (a) => digits(a.prediction) },
    ...data.columns.map((j, k) => ({
      id: "part" + k, title: data.features[j], of: (a) => a.columns[k], text: (a) => signed(a.columns[k] * unit),
    })),
  ];

  const search = make("input", { type: "search", id: "find", autocomplete: "off", oninput: () => choose() });
  const count = make("span", { role: "status" });
  const back = make("button", { type: "button", onclick: () => turn(-PAGE) }, "Previous");
  const on = make("button", { type: "button", onclick: () => turn(PAGE) }, "Next");
  const heads = columns.map((column) => make("th", { scope: "col" },
    make("button", { type: "button", onclick: () => sort(column) }, column.title)));
  const body = make("tbody");
  const table = make("table", { class: "table" },
    make("caption", {}, place.dataset.caption), make("thead", {}, make("tr", {}, ...heads)), body);
  place.append(
    make("div", { class: "bar" }, make("label", { for: "find" }, "Search"), search, count, back, on),
    make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": place.dataset.caption }, table));
  place.hidden = false;
  document.documentElement.classList.add("js");

  function turn(by) { first += by; draw(); }

  function choose() {
    const words = search.value.trim().toLowerCase();
    shown = assets.filter((asset) => asset.key.includes(words));
    order();
  }

  function sort(column) {
    by = { column: column.id, down: by.column === column.id ? !by.down : column.id.startsWith("p") };
    order();
  }

  function order() {
    const { of } = columns.find((column) => column.id === by.column);
    const sign = by.down ? -1 : 1;
    shown.sort((a, b) => sign * (of(a) < of(b) ? -1 : of(a) > of(b) ? 1 : 0));
    first = 0;
    draw();
  }

  function draw() {
    heads.forEach((head, k) => {
      if (columns[k].id === by.column) head.setAttribute("aria-sort", by.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const some = shown.slice(first, first + PAGE);
    count.textContent = some.length
      ? `${(first + 1).toLocaleString("en")} to ${(first + some.length).toLocaleString("en")} of ${shown.length.toLocaleString("en")}${left}`
      : "none found";
    back.disabled = first === 0;
    on.disabled = first + PAGE >= shown.length;
    body.replaceChildren(...some.map(row));
  }

  function row(asset) {
    const opener = make("button", { type: "button", "aria-expanded": "false", onclick: () => open(line, opener, asset) }, asset.name);
    const line = make("tr", {}, make("th", { scope: "row" }, opener),
      ...columns.slice(1).map((column) => make("td", {}, column.text(asset))));
    return line;
  }

  function open(line, opener, asset) {
    const isOpen = opener.getAttribute("aria-expanded") === "true";
    opener.setAttribute("aria-expanded", String(!isOpen));
    if (isOpen) line.nextSibling.remove();
    else line.after(make("tr", { class: "why" }, make("td", { colspan: columns.length }, make("div", {}, waterfall(asset)))));
  }

  function waterfall(asset) {
    const bars = [];
    for (let k = 0; k < asset.parts.length; k += 3) {
      const [j, part, percentile] = asset.parts.slice(k, k + 3);
      bars.push([data.features[j], percentile < 0 ? "" : percentile + "\u00a0%", part * unit]);
    }
    if (data.others > 0) bars.push([`${data.others} others`, "", asset.rest * unit]);
    let at = data.mean, low = at, high = at;
    for (const [, , part] of bars) { at += part; low = Math.min(low, at); high = Math.max(high, at); }
    const end = at, wide = high - low || 1;
    const track = (from, to, kind) => {
      const bar = make("i", kind ? { class: kind } : {});
      bar.style.left = 100 * (Math.min(from, to) - low) / wide + "%";
      bar.style.width = 100 * Math.abs(to - from) / wide + "%";
      return make("td", { class: "track" }, bar);
    };
    at = data.mean;
    const rows = bars.map(([name, percentile, part]) => {
      const from = at;
      at += part;
      return make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, percentile), make("td", {}, signed(part)),
        track(from, at, part < 0 ? "down" : ""));
    });
    const whole = (name, value) => make("tr", {}, make("th", { scope: "row" }, name), make("td"), make("td", {}, digits(value)),
      track(value, value, "whole"));
    const what = data.linear ? "prediction" : "score";
    return make("table", {},
      make("caption", {}, `Why ${asset.name} is not the average: from the mean ${what} to its own`),
      make("thead", {}, make("tr", {}, ...["feature", "its rank", "adds", "from lowest to highest"].map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, whole(`mean ${what}`, data.mean), ...rows, whole(`${what} of ${asset.name}`, end)));
  }

  order();
})();
