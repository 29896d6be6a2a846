// Small parts: elements, numbers, times, tables. Text reaches the document as text nodes only.

export const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Sets a text, unless it stands there already: a selection of it stays. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const grouped = (number) => Math.round(number).toLocaleString("en-US");

/** `1 line`, `2 lines`. */
export const counted = (number, word) => `${grouped(number)} ${word}${number === 1 ? "" : "s"}`;

/** A rate or value in few characters: 0.25, 12.3, 1,234, 12.3 M. */
export function short(number) {
  const size = Math.abs(number);
  if (size >= 1e9) return `${(number / 1e9).toFixed(1)} G`;
  if (size >= 1e6) return `${(number / 1e6).toFixed(1)} M`;
  if (size >= 1e4) return `${(number / 1e3).toFixed(1)} k`;
  if (size >= 100 || Number.isInteger(number)) return grouped(number);
  if (size >= 1) return number.toFixed(1);
  return size === 0 ? "0" : number.toPrecision(2);
}

export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (count >= 1024 && at < units.length - 1) {
    count /= 1024;
    at += 1;
  }
  return `${at === 0 ? Math.round(count) : count.toFixed(1)} ${units[at]}`;
}

const two = (number) => String(number).padStart(2, "0");

/** Unix seconds as the time of day, with the date when it is not today. */
export function clock(seconds) {
  const time = new Date(seconds * 1000);
  const text = `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
  if (time.toDateString() === new Date().toDateString()) return text;
  return `${time.getFullYear()}-${two(time.getMonth() + 1)}-${two(time.getDate())} ${text}`;
}

/** Seconds as the two largest units. */
export function duration(seconds) {
  seconds = Math.max(0, Math.floor(seconds));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

/**
 * Fills a table. A column is `{ head, number, wide, code, cell }`; `cell` returns a text, or an element
 * when `element` is set. Rows are found again by `key`, so that the focus and a selection stay where
 * they are; a row without changes is left alone.
 */
export function fill(table, columns, rows, key, empty) {
  if (!table.tHead) {
    const heads = columns.map((column) =>
      make("th", { scope: "col", className: column.number ? "number" : "" }, column.head));
    table.append(make("thead", {}, make("tr", {}, ...heads)), make("tbody"));
  }
  const body = table.tBodies[0];
  if (rows.length === 0 && empty) {
    const cell = make("td", { className: "quiet", colSpan: columns.length }, empty);
    if (body.textContent !== empty) body.replaceChildren(make("tr", {}, cell));
    return;
  }
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const focused = document.activeElement;
  const inside = body.contains(focused);
  const wanted = rows.map((data) => {
    const name = String(key(data));
    const row = known.get(name) ?? make("tr");
    row.dataset.key = name;
    columns.forEach((column, at) => {
      const cell = row.cells[at] ?? row.insertCell();
      cell.className = [column.number && "number", column.wide && "wide", column.code && "code"].filter(Boolean).join(" ");
      if (column.element) {
        if (!cell.firstChild) cell.append(column.element(data));
      } else {
        say(cell, column.cell(data));
      }
    });
    return row;
  });
  if (wanted.length !== body.rows.length || wanted.some((row, at) => row !== body.rows[at])) {
    body.replaceChildren(...wanted);
    if (inside && body.contains(focused)) focused.focus({ preventScroll: true });
  }
}

/** An answer in JSON; throws with the server's words. */
export async function ask(path, signal) {
  const response = await fetch(path, { cache: "no-store", signal });
  if (!response.ok) throw new Error((await response.text()).trim() || `status ${response.status}`);
  return response.json();
}
