// The only ways our pages make and change elements. Data becomes text and attributes, never markup.
const $ = (id) => document.getElementById(id);

function make(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name === 'class') node.className = value;
    else if (name === 'on') for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (name in node && name !== 'list') node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Writes only what changed: the browser then has nothing to lay out in rows that stay the same.
function setText(node, text) {
  text = String(text);
  if (node.textContent !== text) node.textContent = text;
}
function setData(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}
function setLabel(node, text) {
  if (node.getAttribute('aria-label') !== text) node.setAttribute('aria-label', text);
}

// A drawing of the page's own ICONS.
function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('class', 'glyph');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.append(path);
  setIcon(svg, name);
  return svg;
}
function setIcon(svg, name) {
  if (svg.dataset.icon === name) return;
  svg.dataset.icon = name;
  svg.firstChild.setAttribute('d', ICONS[name]);
}
