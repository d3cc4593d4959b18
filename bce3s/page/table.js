'use strict';
(() => {
  // Light or dark: as the system has it, until the button is pressed; nothing is stored.
  const { dataset } = document.documentElement;
  const button = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const show = (dark) => {
    dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light' : 'Dark';
  };
  button.addEventListener('click', () => show(dataset.theme === 'light'));
  system.addEventListener('change', () => show(system.matches));
  button.hidden = false;
  show(system.matches);

  // Texts as people order them: "class 9" before "class 10".
  const compareTexts = new Intl.Collator(undefined, { numeric: true }).compare;
  // The number that a cell is, or begins with before " ±"; otherwise undefined.
  const number = (text) => {
    const found = /^-?[\d,]*\.?\d+(?=$| ±)/.exec(text);
    return found ? Number(found[0].replace(/,/g, '')) : undefined;
  };

  function sort(table, column, ascending) {
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, (row) => ({ row, text: row.cells[column].textContent }));
    for (const entry of rows) entry.number = number(entry.text);
    const isEmpty = (entry) => entry.text === '' || entry.text === '-';
    const numbers = rows.every((entry) => isEmpty(entry) || entry.number !== undefined);
    const sign = ascending ? 1 : -1;
    rows.sort((a, b) => {
      if (isEmpty(a) || isEmpty(b)) return isEmpty(a) - isEmpty(b); // last, either way
      return sign * (numbers ? a.number - b.number : compareTexts(a.text, b.text));
    });
    body.append(...rows.map((entry) => entry.row));
  }

  function makeSortable(table) {
    const headers = Array.from(table.tHead.rows[0].cells);
    headers.forEach((header, column) => {
      const press = document.createElement('button');
      press.type = 'button';
      press.textContent = header.textContent;
      header.replaceChildren(press);
      press.addEventListener('click', () => {
        const ascending = header.getAttribute('aria-sort') !== 'ascending';
        headers.forEach((other) => other.removeAttribute('aria-sort'));
        header.setAttribute('aria-sort', ascending ? 'ascending' : 'descending');
        sort(table, column, ascending);
      });
    });
  }

  function makeSearchable(input) {
    const rows = Array.from(document.getElementById(input.dataset.table).tBodies[0].rows);
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const tools = input.closest('.tools');
    tools.hidden = false;
    input.addEventListener('input', () => {
      const wanted = input.value.trim().toLowerCase();
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = !texts[i].includes(wanted);
        shown += !row.hidden;
      });
      const all = `${rows.length.toLocaleString('en')} row${rows.length === 1 ? '' : 's'}`;
      tools.querySelector('output').value = wanted ? `${shown} of ${all}` : all;
    });
  }

  document.querySelectorAll('table.interactive').forEach(makeSortable);
  document.querySelectorAll('input[data-table]').forEach(makeSearchable);
})();
