// What the browser keeps for a page, under names that begin with the page's STORE_PREFIX. Storage may be forbidden; then
// nothing is kept, and all works.
function remembered(key) {
  try { return localStorage.getItem(STORE_PREFIX + key); } catch { return null; }
}
function remember(key, value) {
  try { localStorage.setItem(STORE_PREFIX + key, value); } catch { /* Works without. */ }
}
