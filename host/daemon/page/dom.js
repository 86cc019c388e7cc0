// SPDX-License-Identifier: Apache-2.0
// Elements from text and attributes alone: nothing that comes from outside is taken for markup.

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
export const element = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const svg = (tag, attributes = {}, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/// A cell shows text, or a button: {label, name, act}.
function show(cell, content) {
  if (typeof content !== "object") {
    const text = String(content);
    if (cell.textContent !== text) cell.textContent = text;
    return;
  }
  if (cell.firstElementChild) return;  // the row's key is the same, and so is what the button does
  const button = element("button", {type: "button", "aria-label": content.name}, content.label);
  button.addEventListener("click", content.act);
  cell.append(button);
}

/// A table in `place`, row by row by their keys, so that what has the focus keeps it. A column is [heading, (row) => cell, is a number].
export function table(place, caption, columns, rows, key) {
  let whole = place.querySelector("table");
  if (!whole) {
    const heads = columns.map(([heading, , number]) => element("th", {scope: "col", class: number ? "number" : ""}, heading));
    whole = element("table", {}, element("caption"), element("thead", {}, element("tr", {}, ...heads)), element("tbody"));
    place.append(whole);
  }
  show(whole.caption, caption);
  whole.tHead.hidden = rows.length === 0;
  const body = whole.tBodies[0];
  const old = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  rows.forEach((row, at) => {
    const name = String(key(row));
    let line = old.get(name);
    old.delete(name);
    if (!line) {
      line = element("tr", {"data-key": name}, ...columns.map(([, , number]) => element("td", {class: number ? "number" : ""})));
    }
    if (body.rows[at] !== line) body.insertBefore(line, body.rows[at] ?? null);
    columns.forEach(([, cell], column) => show(line.cells[column], cell(row)));
  });
  for (const line of old.values()) line.remove();
}
