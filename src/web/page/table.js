// A table of any length: only rows near the viewport exist, and only what changed in them is written.
// On narrow screens the same rows are shown as cards (style sheet), with roles that keep them a table.
const SPARE_ROWS = 5;

class Table {
  // `columns`: { key, title, value(item) for sorting, build(cell) → update(item), numeric }.
  constructor(host, { name, columns, id, onOpen, empty, sort }) {
    this.columns = columns;
    this.id = id;
    this.onOpen = onOpen;
    this.empty = empty;
    this.sort = sort;
    this.order = [];
    this.rows = new Map();
    this.body = make('tbody', { role: 'rowgroup' });
    this.above = this.pad();
    this.below = this.pad();
    this.body.append(this.above, this.below);
    this.heads = columns.map((column) => this.head(column));
    const head = make('tr', { role: 'row', 'aria-rowindex': '1' }, ...this.heads.map((head) => head.cell));
    this.table = make('table', { class: `grid ${name}`, role: 'table' }, make('thead', { role: 'rowgroup' }, head), this.body);
    this.notice = make('div', { hidden: true });
    this.host = host;
    host.append(this.table, this.notice);
    const refresh = () => requestAnimationFrame(() => this.render());
    addEventListener('scroll', refresh, { passive: true });
    addEventListener('resize', refresh);
    this.translate();
  }

  pad() {
    const cell = make('td', { colSpan: this.columns.length });
    return make('tr', { class: 'pad', 'aria-hidden': 'true' }, cell);
  }

  head(column) {
    const cell = make('th', { scope: 'col', role: 'columnheader', class: `c-${column.key}${column.numeric ? ' numeric' : ''}` });
    const button = make('button', { type: 'button', on: { click: () => this.sortBy(column.key) } });
    const plain = make('span');
    cell.append(column.value ? button : plain);
    return { column, cell, text: column.value ? button : plain };
  }

  translate() {
    for (const { column, text } of this.heads) setText(text, t(column.title));
    for (const row of this.rows.values()) row.node.remove();
    this.rows.clear();
    this.showSort();
  }

  sortBy(key, falling = this.sort.key === key ? !this.sort.falling : this.columnOf(key).numeric) {
    this.sort = { key, falling };
    this.showSort();
    this.arrange(true);
    this.render();
    this.onSort?.(this.sort);
  }

  columnOf(key) {
    return this.columns.find((column) => column.key === key);
  }

  showSort() {
    for (const { column, cell } of this.heads) {
      if (!column.value) continue;
      const own = column.key === this.sort.key;
      cell.setAttribute('aria-sort', !own ? 'none' : this.sort.falling ? 'descending' : 'ascending');
    }
  }

  show(items, hasAny) {
    this.items = items;
    this.hasAny = hasAny;
    this.arrange(false);
    this.render();
  }

  // While somebody points at a row or has the focus in one, rows keep their places: a click must hit what was meant.
  isHeld() {
    const pointing = matchMedia('(hover: hover)').matches && this.body.matches(':hover');
    return pointing || this.body.contains(document.activeElement);
  }

  arrange(anew) {
    const items = this.items ?? [];
    if (!anew && this.order.length > 0 && this.isHeld()) {
      const present = new Map(items.map((item) => [this.id(item), item]));
      const kept = this.order.map((item) => present.get(this.id(item))).filter(Boolean);
      const known = new Set(kept.map(this.id));
      this.order = kept.concat(items.filter((item) => !known.has(this.id(item))));
      return;
    }
    const { value } = this.columnOf(this.sort.key);
    const sign = this.sort.falling ? -1 : 1;
    const keyed = items.map((item, index) => ({ item, index, key: value(item) }));
    keyed.sort((a, b) => (a.key < b.key ? -sign : a.key > b.key ? sign : a.index - b.index));
    this.order = keyed.map(({ item }) => item);
  }

  render() {
    if (this.host.closest('[hidden]')) return;
    const total = this.order.length;
    this.showNotice(total === 0);
    this.table.setAttribute('aria-rowcount', total + 1);
    // In rem, because rows grow with the size of text that a person has chosen.
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const height = rem * parseFloat(getComputedStyle(this.table).getPropertyValue('--row'));
    const top = this.body.getBoundingClientRect().top;
    const first = Math.min(total, Math.max(0, Math.floor(-top / height) - SPARE_ROWS));
    const last = Math.min(total, Math.max(first, Math.ceil((innerHeight - top) / height) + SPARE_ROWS));
    this.place(first, last, height);
  }

  place(first, last, height) {
    const shown = new Set();
    let after = this.above;
    for (let index = first; index < last; index += 1) {
      const item = this.order[index];
      const id = this.id(item);
      shown.add(id);
      const row = this.rows.get(id) ?? this.create(id);
      if (after.nextSibling !== row.node) after.after(row.node);
      after = row.node;
      row.item = item;
      row.node.setAttribute('aria-rowindex', index + 2);
      for (const update of row.updates) update(item);
    }
    for (const [id, row] of this.rows) {
      if (shown.has(id)) continue;
      row.node.remove();
      this.rows.delete(id);
    }
    this.above.hidden = first === 0;
    this.below.hidden = last === this.order.length;
    this.above.firstChild.style.height = first * height + 'px';
    this.below.firstChild.style.height = (this.order.length - last) * height + 'px';
  }

  create(id) {
    const row = { node: make('tr', { role: 'row' }), updates: [], item: null };
    for (const column of this.columns) {
      const cell = make('td', { role: 'cell', class: `c-${column.key}${column.numeric ? ' numeric' : ''}`, 'data-label': t(column.title) });
      row.node.append(cell);
      row.updates.push(column.build(cell, row));
    }
    row.node.dataset.id = id;
    if (this.onOpen) row.node.addEventListener('click', (event) => {
      if (!event.target.closest('button') && !String(getSelection())) this.onOpen(row.item);
    });
    this.rows.set(id, row);
    return row;
  }

  showNotice(empty) {
    this.table.hidden = empty;
    this.notice.hidden = !empty;
    if (!empty) return;
    const [title, hint] = this.empty(this.hasAny);
    const key = t(title) + (hint ? t(hint) : '');
    if (this.notice.dataset.key === key) return;
    this.notice.dataset.key = key;
    this.notice.replaceChildren(emptyState(t(title), hint ? t(hint) : ''));
  }
}

// Columns that only hold a text.
const textColumn = (key, title, value, text, numeric = false) => ({
  key, title, value, numeric,
  build: (cell) => (item) => setText(cell, text(item)),
});
