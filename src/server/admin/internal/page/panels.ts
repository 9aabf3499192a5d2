/**
 * The panels of a vhost: its channels, its queue and workers, its dead letters and its browsers; and the vhosts.
 */

import type * as Model from "../../AdminModel.ts"
import * as Api from "./api.ts"
import { type Child, make as element, makeButton } from "./elements.ts"
import * as Format from "./format.ts"
import * as List from "./list.ts"
import * as Notices from "./notices.ts"
import * as Table from "./table.ts"

/** A panel: one of them is shown. */
export interface Panel {
  readonly title: string
  readonly element: HTMLElement
  /** Reads again what is shown. */
  readonly refresh: () => void
  /** Begins anew, for another vhost. */
  readonly restart: () => void
}

/** What the panels need of the page. */
export interface Page {
  /** The vhost that is shown. */
  readonly vhost: () => string | undefined
  /** Shows another one. */
  readonly choose: (vhost: string) => void
}

/** A sentence or two for an empty list: what it means, and what to do. */
const hint = (title: string, ...text: ReadonlyArray<Child>): HTMLElement =>
  element("div", {}, element("strong", {}, title), element("p", {}, ...text))

const code = (text: string): HTMLElement => element("code", {}, text)

const ofVhost = ({ vhost }: Page, rest: string) => (): string | undefined => {
  const path = vhost()
  return path === undefined ? undefined : Api.vhostPath(path) + rest
}

/** The open channels, by the beginning of their names. */
export const makeChannels = (page: Page): Panel => {
  const search = element("input", {
    type: "search",
    id: "search",
    placeholder: "Names that begin with…  ( / )",
    "aria-label": "Channels whose names begin with",
    autocomplete: "off",
    spellcheck: "false"
  })
  const list = List.make<typeof Model.Channel.Type>({
    label: "Channels",
    columns: [
      { title: "Channel", kind: "name", text: ({ name }) => name },
      { title: "Kind", text: ({ kind }) => kind },
      { title: "Subscribers", kind: "number", text: ({ subscribers }) => Format.count(subscribers) }
    ],
    keyOf: ({ name }) => name,
    path: () => ofVhost(page, `/channels${search.value === "" ? "" : `?prefix=${encodeURIComponent(search.value)}`}`)(),
    empty: () =>
      search.value === ""
        ? hint(
          "No channel is open",
          "A backend opens one with ",
          code(`client.openChannel("room")`),
          ", or give the vhost a rule with ",
          code("openOnDemand"),
          "."
        )
        : hint("Nothing found", `No open channel begins with “${search.value}”.`)
  })
  let timer: ReturnType<typeof setTimeout> | undefined
  search.addEventListener("input", () => {
    clearTimeout(timer)
    timer = setTimeout(list.restart, 200)
  })
  return {
    ...list,
    title: "Channels",
    element: element("div", {}, element("div", { class: "tools" }, search), list.element)
  }
}

/** What is queued in each lane, and the workers. */
export const makeWorkers = (page: Page): Panel => {
  type Lane = typeof Model.Lane.Type & { readonly name: string }
  const lanes = Table.make<Lane>({
    label: "Queue",
    columns: [
      { title: "Queue", kind: "name", text: ({ name }) => name },
      { title: "Queued", kind: "number", text: ({ queued }) => Format.count(queued) },
      { title: "Unacknowledged", kind: "number", text: ({ unacked }) => Format.count(unacked) },
      {
        title: "Oldest",
        kind: "number",
        text: ({ oldestSeconds }) => oldestSeconds === undefined ? "–" : Format.seconds(oldestSeconds)
      }
    ],
    keyOf: ({ name }) => name
  })
  const readLanes = () => {
    const path = ofVhost(page, "/queue")()
    if (path === undefined) return
    void Api.send<typeof Model.Queue.Type>("GET", path).then((outcome) => {
      if (outcome._tag === "Done") {
        lanes.show(lanesOf(outcome.value), "")
      }
    })
  }
  const list = makeWorkerList(page)
  const both = (read: () => void) => () => {
    readLanes()
    read()
  }
  return {
    title: "Workers",
    element: element("div", { class: "several" }, lanes.element, list.element),
    refresh: both(list.refresh),
    restart: both(list.restart)
  }
}

const lanesOf = ({ events, lifecycle, requests }: typeof Model.Queue.Type) => [
  { name: "Events", ...events },
  { name: "Requests", ...requests },
  { name: "Lifecycle events", ...lifecycle }
]

const makeWorkerList = (page: Page) =>
  List.make<typeof Model.Worker.Type>({
    label: "Workers",
    columns: [
      { title: "Worker", kind: "name", text: ({ id }) => id },
      { title: "Unacknowledged", kind: "number", text: ({ unacked }) => Format.count(unacked) },
      {
        title: "Prefetch",
        kind: "number",
        text: ({ prefetch }) => prefetch === undefined ? "unlimited" : Format.count(prefetch)
      },
      {
        title: "Takes",
        text: ({ lifecycle, requests }) =>
          ["events", ...requests ? ["requests"] : [], ...lifecycle ? ["lifecycle"] : []].join(", ")
      },
      { title: "Connected for", kind: "number", text: ({ seconds }) => Format.seconds(seconds) }
    ],
    keyOf: ({ id }) => id,
    path: ofVhost(page, "/workers"),
    empty: () =>
      hint(
        "No worker is connected",
        "Events are queued until a backend listens with ",
        code("worker.listen({ onMessage })"),
        "."
      )
  })

/** The dead letters, to look into, to replay and to discard. */
export const makeDeadLetters = (page: Page): Panel => {
  const path = (rest = "") => ofVhost(page, `/dead-letters${rest}`)() ?? ""
  const list = List.make<typeof Model.DeadLetter.Type>({
    label: "Dead letters",
    columns: [
      { title: "Event", kind: "name", element: letterOf },
      { title: "Why", text: ({ reason }) => reason },
      { title: "Attempts", kind: "number", text: ({ attempts }) => Format.count(attempts) },
      { title: "Failed", text: ({ failedAt }) => Format.moment(failedAt) },
      { title: "Do", kind: "actions", element: (letter) => actionsOf(letter, path, () => list.refresh()) }
    ],
    keyOf: ({ failedAt, id }) => `${id} ${failedAt}`,
    path: () => ofVhost(page, "/dead-letters")(),
    empty: () => hint("No dead letters", "An event whose handler fails too often ends here, and can be replayed."),
    onItems: ({ length }) => all.hidden = length === 0
  })
  const replayAll = makeButton({ text: "Replay all" }, (button) =>
    Notices.ask({
      title: "Replay all dead letters?",
      text: `All of ${page.vhost()} become events again, the oldest first, until the queue is full.`,
      action: "Replay all"
    }, () =>
      Notices.act<typeof Model.Replayed.Type>(["POST", path("/replay")], {
        button,
        done: ({ left, replayed }) => `${Format.counted(replayed, "dead letter")} replayed, ${Format.count(left)} left.`
      }, list.restart)))
  const discardAll = makeButton({ text: "Discard all" }, (button) =>
    Notices.ask({
      title: "Discard all dead letters?",
      text: `All of ${page.vhost()} are deleted. This cannot be undone.`,
      action: "Discard all"
    }, () =>
      Notices.act<typeof Model.Discarded.Type>(["DELETE", path()], {
        button,
        done: ({ discarded }) => `${Format.counted(discarded, "dead letter")} discarded.`
      }, list.restart)))
  const all = element("div", { class: "tools", hidden: true }, replayAll, discardAll)
  return { ...list, title: "Dead letters", element: element("div", {}, all, list.element) }
}

const letterOf = ({ data, event, id, size }: typeof Model.DeadLetter.Type): HTMLElement =>
  element(
    "details",
    {},
    element("summary", {}, event),
    element(
      "pre",
      { tabindex: "0" },
      data === undefined ? `Its ${Format.bytes(size)} of data are not shown here.` : JSON.stringify(data, undefined, 2)
    ),
    element("p", { class: "soft" }, id)
  )

const actionsOf = (
  { event, id }: typeof Model.DeadLetter.Type,
  path: (rest: string) => string,
  refresh: () => void
): HTMLElement => {
  const letter = `/${encodeURIComponent(id)}`
  const replay = makeButton(
    { text: "Replay", label: `Replay ${event}` },
    (button) =>
      Notices.act(["POST", path(`${letter}/replay`)], { button, done: () => `${event} is queued again.` }, refresh)
  )
  const discard = makeButton(
    { text: "Discard", label: `Discard ${event}` },
    (button) => Notices.act(["DELETE", path(letter)], { button, done: () => `${event} is discarded.` }, refresh)
  )
  return element("div", { class: "buttons" }, replay, discard)
}

/** The browsers, to disconnect them. */
export const makeBrowsers = (page: Page): Panel => {
  const list = List.make<typeof Model.Browser.Type>({
    label: "Browsers",
    columns: [
      { title: "Browser", kind: "name", text: ({ sid }) => sid },
      { title: "User", text: ({ uid }) => uid ?? "–" },
      { title: "From", text: ({ address }) => address ?? "–" },
      { title: "Subscriptions", kind: "number", text: ({ subscriptions }) => Format.count(subscriptions) },
      { title: "Queued", kind: "number", text: ({ queuedBytes = 0 }) => Format.bytes(queuedBytes) },
      { title: "Connected for", kind: "number", text: ({ seconds = 0 }) => Format.seconds(seconds) },
      { title: "Do", kind: "actions", element: (browser) => disconnectOf(browser, page, () => list.refresh()) }
    ],
    keyOf: ({ sid }) => sid,
    path: ofVhost(page, "/browsers"),
    empty: () => hint("No browser is connected", `Browsers connect to the WebSocket port, at the path ${page.vhost()}.`)
  })
  return { ...list, title: "Browsers" }
}

const disconnectOf = ({ sid }: { readonly sid: string }, page: Page, refresh: () => void): HTMLElement =>
  makeButton(
    { text: "Disconnect", label: `Disconnect ${sid}` },
    (button) =>
      Notices.act(["DELETE", ofVhost(page, `/browsers/${encodeURIComponent(sid)}`)() ?? ""], {
        button,
        done: () => "The browser is disconnected."
      }, refresh)
  )

/** The vhosts; one of them can be chosen. */
export const makeVhosts = (page: Page): Panel => {
  const number = (title: string, of: (counts: typeof Model.Counts.Type) => number) => ({
    title,
    kind: "number" as const,
    text: ({ counts }: typeof Model.VhostSummary.Type) => Format.count(of(counts))
  })
  const list = List.make<typeof Model.VhostSummary.Type>({
    label: "Vhosts",
    columns: [
      {
        title: "Vhost",
        kind: "name",
        element: ({ path }) =>
          makeButton({ text: path, className: "link", label: `Show ${path}` }, () => page.choose(path))
      },
      number("Browsers", ({ browsers }) => browsers),
      number("Channels", ({ channels }) => channels),
      number("Workers", ({ workers }) => workers),
      number("Queued", ({ queued }) => queued),
      number("Unacknowledged", ({ unacked }) => unacked),
      number("Dead letters", ({ deadLetters }) => deadLetters)
    ],
    keyOf: ({ path }) => path,
    path: () => "/api/vhosts",
    empty: () => hint("There is no vhost", "Add one: ", code("kosmonaut admin add-vhost /chat"))
  })
  return { ...list, title: "Vhosts" }
}
