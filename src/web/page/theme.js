const STORE_PREFIX = 'flowgate.';

// Runs before the first paint, so that a dark page never flashes white. Without a choice the system decides.
const THEMES = ['auto', 'light', 'dark'];
const systemDark = matchMedia('(prefers-color-scheme: dark)');

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
