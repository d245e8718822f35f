"use strict";

/* A press on a heading sorts its table: what starts with a number by that, the rest as text, what is not known last. */
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort by this column";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sort(body, heading));
  }
}

function sort(body, heading) {
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = Array.from(body.rows, (row) => [row.cells[heading.cellIndex], row]);
  rows.sort(([one], [other]) => compare(one, other, down));
  body.append(...rows.map(([, row]) => row));
}

function compare(one, other, down) {
  const texts = [one, other].map((cell) => cell.innerText.trim());
  const unknown = texts.map((text) => text === "-" || text === "");
  if (unknown[0] || unknown[1]) return unknown[0] - unknown[1];
  const numbers = texts.map((text) => (one.scope === "row" ? NaN : parseFloat(text)));
  const order = numbers.some(Number.isNaN)
    ? texts[0].localeCompare(texts[1], undefined, { numeric: true })
    : numbers[0] - numbers[1];
  return down ? -order : order;
}

/* Paper cannot be unfolded. */
const folded = () => document.querySelectorAll("details:not(.scenario)");
addEventListener("beforeprint", () => {
  for (const part of folded()) {
    part.dataset.open = part.open;
    part.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const part of folded()) part.open = part.dataset.open === "true";
});
