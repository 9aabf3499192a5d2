/**
 * A long list, a page at a time. The broker reads no more of it than the page shows.
 */

import * as Api from "./api.ts"
import { type Child, make as element, makeButton, setText } from "./elements.ts"
import { count } from "./format.ts"
import * as Notices from "./notices.ts"
import * as Table from "./table.ts"

/** What a list is made of. */
export interface Options<A> extends Table.Options<A> {
  /** Where it is read, `undefined` for an empty list. It may have a query. */
  readonly path: () => string | undefined
  /** What to say when it is empty. */
  readonly empty: () => Child
  /** Called with what is shown. */
  readonly onItems?: (items: ReadonlyArray<A>) => void
}

/** A list in the page. */
export interface List {
  readonly element: HTMLElement
  /** Reads again what is shown. */
  readonly refresh: () => void
  /** Begins again with the first page. */
  readonly restart: () => void
}

/** How many items a page has. */
const size = 50

/** How often an empty part is followed by the next one, before the person is asked. A part of channels looks at 10 000 names. */
const patience = 12

/** Where a list is: where each page up to that which is shown begins, and where the next one does. */
interface Place {
  readonly starts: Array<number>
  next: number | undefined
  /** How many pages before it had how many items. */
  readonly before: Array<number>
  /** What is read now, to tell its answer from that of an earlier request. */
  reading: number
}

/** Makes a list, and reads nothing yet. */
export const make = <A>(options: Options<A>): List => {
  const table = Table.make(options)
  const place: Place = { starts: [0], next: undefined, before: [], reading: 0 }
  let shown: ReadonlyArray<A> = []
  const move = (change: () => void) => () => {
    change()
    read()
  }
  const previous = makeButton({ text: "Previous" }, move(() => back(place)))
  const next = makeButton({ text: "Next" }, move(() => forth(place, shown.length)))
  const where = element("span", { class: "where" })
  const pages = element("nav", { class: "pages", "aria-label": `Pages of ${options.label}` }, previous, where, next)
  const show = (items: ReadonlyArray<A>) => {
    shown = items
    table.show(
      items,
      place.next === undefined ? options.empty() : "Nothing among the first ones. There are more: Next."
    )
    previous.disabled = place.starts.length === 1
    next.disabled = place.next === undefined
    pages.hidden = previous.disabled && next.disabled
    const first = place.before.reduce((sum, length) => sum + length, 1)
    setText(where, items.length === 0 ? "" : `${count(first)}–${count(first + items.length - 1)}`)
    options.onItems?.(items)
  }
  const read = (): void => {
    const path = options.path()
    if (path === undefined) return
    const reading = ++place.reading
    void readPart<A>(path, place.starts.at(-1)!, patience).then((outcome) => {
      if (reading !== place.reading) return
      if (outcome._tag === "Done") {
        place.next = outcome.value.next
        show(outcome.value.items)
      } else if (outcome._tag === "Refused") table.show([], outcome.message)
      // Else the page as a whole says it.
      else if (outcome._tag === "Forbidden") Notices.fail(outcome)
    })
  }
  return {
    element: element("div", { class: "list" }, table.element, pages),
    refresh: read,
    restart: () => {
      Object.assign(place, { starts: [0], before: [], next: undefined })
      read()
    }
  }
}

const back = ({ before, starts }: Place): void => {
  if (starts.length === 1) return
  starts.pop()
  before.pop()
}

const forth = ({ before, next, starts }: Place, length: number): void => {
  if (next === undefined) return
  starts.push(next)
  before.push(length)
}

// Where no item of a part fits, the next part may have some.
const readPart = <A>(path: string, after: number, left: number): Promise<Api.Outcome<Api.Part<A>>> => {
  const query = `${path.includes("?") ? "&" : "?"}limit=${size}&after=${after}`
  return Api.send<Api.Part<A>>("GET", path + query).then((outcome) =>
    outcome._tag === "Done" && outcome.value.items.length === 0 && outcome.value.next !== undefined && left > 1
      ? readPart<A>(path, outcome.value.next, left - 1)
      : outcome
  )
}
