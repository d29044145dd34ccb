// What this page draws: glyphs, and what is made of one and a word.
const ICONS = {
  flowing: 'M2 8c2-4 4-4 6 0s4 4 6 0',
  throttled: 'M5.5 3v10M10.5 3v10',
  congested: 'M8 2.5v7M4 6l4 4 4-4M3 13.5h10',
  starting: 'M8 3v5l3 2M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0Z',
  left: 'M6 3H3v10h3M10 5l3 3-3 3M13 8H6',
  disconnect: 'M4 4l8 8M12 4l-8 8',
  auto: 'M8 2v12M14 8A6 6 0 1 1 2 8a6 6 0 0 1 12 0ZM8 5h3M8 8h5M8 11h4',
  light: 'M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6ZM8 1v1M8 14v1M1 8h1M14 8h1M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1',
  dark: 'M13.5 9.5A6 6 0 0 1 6.5 2.5a6 6 0 1 0 7 7Z',
};

// A word with a shape and a colour, so that it can be told without seeing colours.
function badge() {
  const text = make('span');
  const node = make('span', { class: 'badge' }, icon('flowing'), text);
  return {
    node,
    show(flow) {
      setData(node, 'flow', flow);
      setIcon(node.firstChild, flow);
      setText(text, t(flow));
    },
  };
}

function emptyState(title, hint) {
  return make('div', { class: 'empty' }, make('p', {}, title), make('p', { class: 'quiet' }, hint));
}
