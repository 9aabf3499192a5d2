/**
 * A table whose rows stay the same elements while their items do, so that the focus and what is open stay where they are.
 */

import { type Child, make as element, setContent, setText } from "./elements.ts"

/** A column: a text that may change, or an element that is made once for each item. */
export interface Column<A> {
  readonly title: string
  readonly kind?: "number" | "name" | "actions"
  readonly text?: (item: A) => string
  readonly element?: (item: A) => HTMLElement
}

/** What a table is made of. */
export interface Options<A> {
  readonly label: string
  readonly columns: ReadonlyArray<Column<A>>
  /** What an item is recognized by. */
  readonly keyOf: (item: A) => string
}

/** A table in the page. */
export interface Table<A> {
  readonly element: HTMLElement
  /** Shows these items; if there are none, what to say then. */
  readonly show: (items: ReadonlyArray<A>, empty: Child) => void
}

/** How many columns a phone has room for. The rows of a table with more are cards there. */
const fewColumns = 4

/** Makes a table. */
export const make = <A>({ columns, keyOf, label }: Options<A>): Table<A> => {
  const heads = columns.map(({ kind, title }) => element("th", { scope: "col", class: kind }, title))
  const body = element("tbody")
  const table = element("table", { "aria-label": label }, element("thead", {}, element("tr", {}, ...heads)), body)
  const nothing = element("div", { class: "empty", hidden: true })
  let rows = new Map<string, HTMLTableRowElement>()
  const rowOf = (item: A): HTMLTableRowElement => {
    const cells = columns.map(({ element: elementOf, kind, title }) =>
      element("td", { class: kind, "data-label": title }, ...elementOf === undefined ? [] : [elementOf(item)])
    )
    return element("tr", {}, ...cells)
  }
  return {
    element: element("div", { class: columns.length > fewColumns ? "cards" : undefined }, table, nothing),
    show: (items, empty) => {
      const shown = new Map<string, HTMLTableRowElement>()
      for (const item of items) {
        const key = keyOf(item)
        const row = rows.get(key) ?? rowOf(item)
        columns.forEach(({ text }, index) => text !== undefined && setText(row.cells[index]!, text(item)))
        shown.set(key, row)
      }
      rows = shown
      const wanted = [...shown.values()]
      if (wanted.length !== body.rows.length || wanted.some((row, index) => body.rows[index] !== row)) {
        body.replaceChildren(...wanted)
      }
      table.hidden = items.length === 0
      nothing.hidden = items.length > 0
      if (items.length === 0) setContent(nothing, empty)
    }
  }
}
