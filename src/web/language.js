// In which of its LANGUAGES a page speaks. TEXT has, for each of its keys, the wordings in their order.
let language = chooseLanguage();

function chooseLanguage() {
  const choice = remembered('language');
  return LANGUAGES.includes(choice) ? choice : likelyLanguage(navigator.language.toLowerCase());
}

function t(key, ...values) {
  const text = TEXT[key][LANGUAGES.indexOf(language)];
  const wording = (_, index, one, more) => (more === undefined ? values[index] ?? '' : String(values[index]) === '1' ? one : more);
  return text.replace(/\{(\d)(?::([^|}]*)\|([^}]*))?\}/g, wording).trim();
}

// Fills in the texts that the document itself holds: content, accessible names, placeholders.
function translateDocument(label = setLabel) {
  document.documentElement.lang = LANGUAGE_TAGS[LANGUAGES.indexOf(language)];
  for (const node of document.querySelectorAll('[data-t]')) node.textContent = t(node.dataset.t);
  for (const node of document.querySelectorAll('[data-a]')) label(node, t(node.dataset.a));
  for (const node of document.querySelectorAll('[data-p]')) node.placeholder = t(node.dataset.p);
}
