// What a page can do more with JavaScript; without it everything is there to read. Tables sort by a click on a heading, texts are copied by a button.
"use strict";

const UNITS = { k: 1e3, M: 1e6, G: 1e9, T: 1e12, min: 60, h: 3600, d: 86400 };

// The number that a cell's text begins with, in one unit: "270 k" is 270,000 and "3 min 20 s" is 200. NaN for a dash.
function numberOf(text) {
  const parts = [...text.replace(/,/g, "").replace(/\u2212/g, "-").matchAll(/([-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)(?: (k|M|G|T|min|h|d|s)\b)?/g)];
  if (!parts.length) return text.includes("\u221e") ? (text.startsWith("\u2212") ? -Infinity : Infinity) : NaN;
  const value = (part) => Number(part[1]) * (UNITS[part[2]] ?? 1);
  const isTime = parts.length > 1 && parts.every((part) => part[2]);
  return isTime ? parts.reduce((sum, part) => sum + value(part), 0) : value(parts[0]);
}

// Rows by one column, the smallest first and then the largest first; what is no number stands last, and equal rows keep their order.
function sortBy(table, column, heading) {
  const falling = heading.getAttribute("aria-sort") === "ascending";
  const isNumeric = heading.classList.contains("right");
  const texts = new Map([...table.tBodies[0].rows].map((row) => [row, row.cells[column].textContent]));
  const words = new Intl.Collator("en", { numeric: true });
  const order = (one, other) => {
    if (!isNumeric) return words.compare(texts.get(one), texts.get(other)) * (falling ? -1 : 1);
    const [a, b] = [numberOf(texts.get(one)), numberOf(texts.get(other))];
    if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
    return (a < b ? -1 : a > b ? 1 : 0) * (falling ? -1 : 1);
  };
  table.tBodies[0].append(...[...texts.keys()].sort(order));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

for (const table of document.querySelectorAll(".scroll > table")) {
  if (table.tBodies[0].rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(table, column, heading));
  });
}

// Copies where the browser allows it; elsewhere it shows the text and selects it.
async function copy(block, button) {
  const name = button.textContent;
  try {
    await navigator.clipboard.writeText(block.textContent);
    button.textContent = "Copied";
  } catch {
    for (let part = block; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    getSelection().selectAllChildren(block);
    button.textContent = "Selected: now press Ctrl+C";
  }
  setTimeout(() => (button.textContent = name), 2000);
}

function offer(block, place) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = `Copy ${block.dataset.copy}`;
  button.addEventListener("click", () => copy(block, button));
  place(button);
}

for (const figure of document.querySelectorAll("figure[id]")) {
  const blocks = [...figure.querySelectorAll("pre[data-copy]"), document.getElementById("bibtex")];
  for (const block of blocks) offer(block, (button) => figure.querySelector(".files").append(" ", button));
}
for (const block of document.querySelectorAll("section:not(#figures) pre[data-copy]")) {
  if (!block.closest("figure")) offer(block, (button) => block.before(button));
}
