
"use strict";
// Sort tables by a click on a heading. The page is complete without this.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  [...table.tHead.rows[0].cells].forEach((heading, at) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const down = heading.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...body.rows].map((row) => {
        const cell = row.cells[at];
        return { row, number: parseFloat(cell.dataset.v), text: cell.textContent };
      });
      const compare = (a, b) => {
        const empty = Number.isNaN(a.number) - Number.isNaN(b.number);
        if (Number.isNaN(a.number) && Number.isNaN(b.number)) {
          const order = a.text.localeCompare(b.text, undefined, { numeric: true });
          return down ? -order : order;
        }
        return empty || (down ? b.number - a.number : a.number - b.number);
      };
      body.append(...rows.sort(compare).map((item) => item.row));
    });
  });
}
