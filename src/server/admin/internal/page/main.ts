/**
 * The dashboard: asks for the cookie, reads the broker's overview once a second, and the list that is shown every five.
 *
 * It stops while nobody looks at the page. If the broker does not answer, it says so and tries again until it is back.
 */

import type * as Model from "../../AdminModel.ts"
import * as Api from "./api.ts"
import { byId, make as element, setText } from "./elements.ts"
import * as Live from "./live.ts"
import * as Nodes from "./nodes.ts"
import * as Notices from "./notices.ts"
import * as Panels from "./panels.ts"
import type { Overview } from "./series.ts"
import * as Slow from "./slow.ts"
import * as Tabs from "./tabs.ts"

/** How often the overview, the lists and the health are read, in milliseconds. */
const interval = 1000
const listInterval = 5000

const vhostChoice = byId<HTMLSelectElement>("vhost")
const live = Live.make({ charts: byId("charts"), numbers: byId("numbers") })
const slow = Slow.make()
byId("slow").replaceWith(slow.element)
const nodes = Nodes.make()
byId("nodes").replaceWith(nodes.element)

// --- What is shown: in the address, so that a reload shows the same ---

const chosen = new URLSearchParams(location.hash.slice(1))
const remember = (name: string, value: string): void => {
  chosen.set(name, value)
  history.replaceState(undefined, "", `#${chosen}`)
}

const page: Panels.Page = {
  vhost: () => chosen.get("vhost") ?? undefined,
  choose: (vhost) => {
    remember("vhost", vhost)
    showVhosts()
    tabs.show("Channels")
    remember("panel", "Channels")
  }
}

const tabs = Tabs.make({
  bar: byId("tabs"),
  place: byId("panels"),
  panels: [
    Panels.makeChannels(page),
    Panels.makeWorkers(page),
    Panels.makeDeadLetters(page),
    Panels.makeBrowsers(page),
    Panels.makeVhosts(page)
  ],
  onChoose: ({ title }) => remember("panel", title)
})

vhostChoice.addEventListener("change", () => {
  remember("vhost", vhostChoice.value)
  tabs.shown().restart()
})

// The vhosts to choose from, the first 1000; the panel has all.
const readVhosts = (): void =>
  void Api.send<Api.Part<typeof Model.VhostSummary.Type>>("GET", "/api/vhosts?limit=1000").then((outcome) => {
    if (outcome._tag !== "Done") return
    vhosts = outcome.value.items.map(({ path }) => path)
    showVhosts()
  })

let vhosts: ReadonlyArray<string> = []

const showVhosts = (): void => {
  const before = page.vhost()
  const path = before !== undefined && vhosts.includes(before) ? before : vhosts[0]
  const options = vhosts.join("\n")
  if (options !== Array.from(vhostChoice.options, ({ value }) => value).join("\n")) {
    vhostChoice.replaceChildren(...vhosts.map((value) => element("option", { value }, value)))
  }
  if (path === undefined) chosen.delete("vhost")
  else vhostChoice.value = path
  if (path === undefined || path === before) return
  remember("vhost", path)
  tabs.shown().restart()
}

// --- What is read ---

let timer: ReturnType<typeof setTimeout> | undefined
let listsReadAt = -Infinity
let misses = 0

const read = (): void => {
  clearTimeout(timer)
  if (document.hidden || Api.cookie() === undefined) return
  void Api.send<Overview>("GET", "/api/overview").then((outcome) => {
    if (outcome._tag === "Forbidden") return forbid()
    if (outcome._tag === "Done") show(outcome.value)
    else miss(outcome)
    timer = setTimeout(read, interval * Math.min(5, 1 + misses))
  })
}

const show = (overview: Overview): void => {
  enter()
  const isBack = misses > 0
  misses = 0
  byId("problem").hidden = true
  byId("dashboard").classList.remove("away")
  live.show(overview)
  const now = performance.now()
  if (now - listsReadAt < listInterval && !isBack) return
  listsReadAt = now
  readVhosts()
  readHealth()
  slow.refresh(overview.blocked.browsers > 0)
  nodes.refresh()
  tabs.shown().refresh()
}

const miss = (outcome: Api.Outcome<unknown>): void => {
  enter()
  misses++
  live.miss()
  setState("Away", "bad")
  byId("dashboard").classList.add("away")
  setText(
    byId("problem"),
    outcome._tag === "Refused"
      ? `${outcome.message} Trying again…`
      : "The broker does not answer. Trying again until it does…"
  )
  byId("problem").hidden = false
}

const readHealth = (): void => {
  void Api.problems().then((problems) => {
    if (problems === undefined || misses > 0) return
    setState(problems.length === 0 ? "Ready" : "Not ready", problems.length === 0 ? "good" : "bad")
    if (problems.length === 0) return
    setText(byId("problem"), `The broker would not deliver: ${problems.join("; ")}.`)
    byId("problem").hidden = false
  })
}

const setState = (text: string, className: string): void => {
  setText(byId("state"), text)
  byId("state").className = className
}

// --- The cookie ---

const form = byId<HTMLFormElement>("login")
const input = byId<HTMLInputElement>("cookie")

const enter = (): void => {
  if (!byId("dashboard").hidden) return
  form.hidden = true
  for (const id of ["dashboard", "forget", "state"]) byId(id).hidden = false
  tabs.show(chosen.get("panel") ?? undefined)
}

const leave = (problem: string): void => {
  Api.forgetCookie()
  clearTimeout(timer)
  form.hidden = false
  for (const id of ["dashboard", "forget", "state", "problem"]) byId(id).hidden = true
  byId<HTMLButtonElement>("submit").disabled = false
  setText(byId("cookie-problem"), problem)
  input.setAttribute("aria-invalid", String(problem !== ""))
  input.focus()
}

const forbid = (): void => leave("The broker does not accept this cookie. Is it that of this broker?")

form.addEventListener("submit", (event) => {
  event.preventDefault()
  const typed = input.value.trim()
  if (!/^[0-9a-f]{40}$/.test(typed)) {
    return leave(`A cookie has 40 hexadecimal digits. This has ${typed.length} characters.`)
  }
  input.value = ""
  setText(byId("cookie-problem"), "")
  byId<HTMLButtonElement>("submit").disabled = true
  Api.keepCookie(typed)
  listsReadAt = -Infinity
  read()
})

byId("forget").addEventListener("click", () => leave(""))
Notices.whenForbidden(forbid)

// --- The keyboard, and whether anybody looks ---

document.addEventListener("visibilitychange", read)
document.addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement
  if (event.key !== "/" || isTyping || byId("dashboard").hidden) return
  event.preventDefault()
  tabs.show("Channels")
  remember("panel", "Channels")
  byId("search").focus()
})

if (Api.cookie() === undefined) leave("")
else read()
