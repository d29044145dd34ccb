// What the browser keeps for this page. Storage may be forbidden; then nothing is kept, and all works.
const STORE_PREFIX = 'rtp2httpd-player-';

function remembered(key) {
  try { return localStorage.getItem(STORE_PREFIX + key); } catch { return null; }
}
function remember(key, value) {
  try { localStorage.setItem(STORE_PREFIX + key, value); } catch { /* Works without. */ }
}
function rememberedList(key) {
  try {
    const list = JSON.parse(remembered(key));
    return list && typeof list === 'object' ? list : {};
  } catch {
    return {};
  }
}

// A phone shows the list under the picture; where there is room, it was open or closed the last time.
document.documentElement.dataset.side = remembered('side') === 'closed' ? 'closed' : 'open';
