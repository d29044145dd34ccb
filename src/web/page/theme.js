// Runs before the first paint, so that a dark page never flashes white. Storage may be forbidden; then the system decides.
const THEMES = ['auto', 'light', 'dark'];
const systemDark = matchMedia('(prefers-color-scheme: dark)');

function remembered(key) {
  try { return localStorage.getItem('flowgate.' + key); } catch { return null; }
}
function remember(key, value) {
  try { localStorage.setItem('flowgate.' + key, value); } catch { /* Works without. */ }
}
function themeChoice() {
  const choice = remembered('theme');
  return THEMES.includes(choice) ? choice : 'auto';
}
function applyTheme() {
  const choice = themeChoice();
  const dark = choice === 'auto' ? systemDark.matches : choice === 'dark';
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  document.documentElement.style.colorScheme = dark ? 'dark' : 'light';
}
applyTheme();
