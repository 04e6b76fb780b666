/**
 * Shows a newer report in the place of an older one, element by element: what has not changed stays as it is, with its focus, its scroll
 * position and what the reader has opened.
 */

/** The text of elements as the server sent them: the page changes some, such as the stage of an episode. */
const sources = new WeakMap<Element, string>();

const sourceOf = (element: Element) => sources.get(element) ?? element.outerHTML;

/** What is replaced as a whole. */
const isWhole = (element: Element) =>
  element.matches('svg, figure, .episodes') ||
  (element.children.length > 0 &&
    [...element.childNodes].some((node) => node instanceof Text && node.data.trim() !== ''));

/** Keeps the text of an element and of those in it, before anything changes them. */
export function remember(element: Element): void {
  sources.set(element, element.outerHTML);
  if (!isWhole(element)) for (const child of element.children) remember(child);
}

/** The children by what tells them apart: the heading that they are under, what they are, and their number among those. */
function named(parent: Element): Map<string, Element> {
  const found = new Map<string, Element>();
  let heading = '';
  for (const child of parent.children) {
    if (child.tagName === 'H2') heading = child.textContent ?? '';
    let i = 0;
    const name = () => `${heading}\n${child.tagName}\n${i}`;
    while (found.has(name())) i += 1;
    found.set(name(), child);
  }
  return found;
}

/** Copies the attributes of an element, except whether the reader has opened it. */
function copyAttributes(from: Element, to: Element): void {
  for (const { name, value } of from.attributes) if (name !== 'open') to.setAttribute(name, value);
}

/** Takes the place of an element that has changed, and may give a function to do so. */
export type Replace = (before: Element, after: Element) => void;

/**
 * Makes the content of `before` that of `after`, whose elements it may take.
 * @param replace is called for each element that is replaced as a whole.
 * @returns true if an element was left as it was, because it has the focus.
 */
export function refresh(before: Element, after: Element, replace: Replace): boolean {
  let isBehind = false;
  const known = named(before);
  const replacements: [Element, Element][] = [];
  const kept = [...named(after)].map(([name, next]) => {
    const own = known.get(name);
    if (own === undefined) {
      remember(next);
      return next;
    }
    const source = sourceOf(next);
    if (sourceOf(own) === source) return own;
    const isText = (element: Element) => element.children.length === 0;
    if (isWhole(next) || isWhole(own) || isText(next) !== isText(own)) {
      if (own.contains(document.activeElement)) {
        isBehind = true;
        return own;
      }
      remember(next);
      replacements.push([own, next]);
      return own;
    }
    if (next.children.length === 0) own.textContent = next.textContent;
    else if (refresh(own, next, replace)) isBehind = true;
    copyAttributes(next, own);
    sources.set(own, source);
    return own;
  });
  const staying = new Set(kept);
  for (const child of [...before.children]) if (!staying.has(child)) child.remove();
  // An element that is moved loses its focus: each stays in its place if it can.
  let place = before.firstElementChild;
  for (const child of kept) {
    if (child === place) place = place.nextElementSibling;
    else before.insertBefore(child, place);
  }
  for (const [own, next] of replacements) replace(own, next);
  return isBehind;
}
