/**
 * Elements of the page. Texts are always texts: nothing is read as HTML.
 */

/** What an element may have: `true` is an attribute without a value, `undefined` and `false` none. */
export type Attributes = Readonly<Record<string, string | boolean | undefined>>

/** What may be in an element. */
export type Child = Node | string

/** Makes an element. */
export const make = <Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[Name] => {
  const element = document.createElement(name)
  setAttributes(element, attributes)
  element.append(...children)
  return element
}

/** Makes an element of a drawing. */
export const makeSvg = <Name extends keyof SVGElementTagNameMap>(
  name: Name,
  attributes: Attributes = {},
  ...children: ReadonlyArray<Child>
): SVGElementTagNameMap[Name] => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name)
  setAttributes(element, attributes)
  element.append(...children)
  return element
}

/** Makes a button. */
export const makeButton = (
  { className, label, text }: { readonly text: string; readonly className?: string; readonly label?: string },
  onClick: (button: HTMLButtonElement) => void
): HTMLButtonElement => {
  const button = make("button", { type: "button", class: className, "aria-label": label }, text)
  button.addEventListener("click", () => onClick(button))
  return button
}

const setAttributes = (element: Element, attributes: Attributes): void => {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value)
  }
}

/** The element of the page with this id. */
export const byId = <E extends HTMLElement = HTMLElement>(id: string): E => document.getElementById(id) as E

/** Changes a text, if it is another one: a screen reader says what changes. */
export const setText = (element: Element, text: string): void => {
  if (element.textContent !== text) element.textContent = text
}

/** Changes what is in an element, unless it is the same already. */
export const setContent = (element: Element, content: Child): void => {
  if (typeof content === "string") setText(element, content)
  else if (element.firstChild !== content) element.replaceChildren(content)
}
