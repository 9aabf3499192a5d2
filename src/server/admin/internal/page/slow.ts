/**
 * The slow browsers: shown while there are any, and read only then, since the broker looks at every browser for it.
 */

import type * as Model from "../../AdminModel.ts"
import * as Api from "./api.ts"
import { make as element, makeButton } from "./elements.ts"
import * as Format from "./format.ts"
import * as Notices from "./notices.ts"
import * as Table from "./table.ts"

type SlowBrowser = (typeof Model.SlowBrowsers.Type)["items"][number]

/** The slow browsers in the page. */
export interface Slow {
  readonly element: HTMLElement
  /** Reads them if there are any, and hides them otherwise. */
  readonly refresh: (areThere: boolean) => void
}

/** Makes the part of the page. */
export const make = (): Slow => {
  const table = Table.make<SlowBrowser>({
    label: "Slow browsers",
    columns: [
      { title: "Slow browser", kind: "name", text: ({ sid }) => sid },
      { title: "Vhost", text: ({ vhost }) => vhost },
      { title: "User", text: ({ uid }) => uid ?? "–" },
      { title: "From", text: ({ address }) => address ?? "–" },
      { title: "Queued", kind: "number", text: ({ queuedBytes = 0 }) => Format.bytes(queuedBytes) },
      { title: "Do", kind: "actions", element: (browser) => disconnect(browser, read) }
    ],
    keyOf: ({ sid }) => sid
  })
  const section = element(
    "section",
    { class: "card", hidden: true, "aria-label": "Slow browsers" },
    element("h2", {}, "Browsers that do not read"),
    table.element
  )
  const read = () => {
    void Api.send<typeof Model.SlowBrowsers.Type>("GET", "/api/slow-browsers").then((outcome) => {
      if (outcome._tag !== "Done") return
      section.hidden = outcome.value.items.length === 0
      table.show(outcome.value.items, "")
    })
  }
  return {
    element: section,
    refresh: (areThere) => {
      if (areThere) read()
      else section.hidden = true
    }
  }
}

const disconnect = ({ sid, vhost }: SlowBrowser, then: () => void): HTMLElement =>
  makeButton(
    { text: "Disconnect", label: `Disconnect ${sid}` },
    (button) =>
      Notices.act(["DELETE", `${Api.vhostPath(vhost)}/browsers/${encodeURIComponent(sid)}`], {
        button,
        done: () => "The browser is disconnected."
      }, then)
  )
