/**
 * Requests to the broker's API. They do not fail: what can happen is an `Outcome`.
 *
 * The cookie is typed once, kept for this tab of the browser, and sent as a header; nothing else has it.
 */

/** What became of a request. */
export type Outcome<A> =
  | { readonly _tag: "Done"; readonly value: A }
  /** The cookie is not that of the broker. */
  | { readonly _tag: "Forbidden" }
  /** The broker did not answer. */
  | { readonly _tag: "Unreachable" }
  /** The broker has refused it, and this is why. */
  | { readonly _tag: "Refused"; readonly message: string }

/** A part of a list, and where it continues. */
export interface Part<A> {
  readonly items: ReadonlyArray<A>
  readonly next?: number
}

const key = "kosmonaut.cookie"

/** The cookie, `undefined` if none was typed. */
export const cookie = (): string | undefined => sessionStorage.getItem(key) ?? undefined

/** Keeps the cookie for this tab. */
export const keepCookie = (value: string): void => sessionStorage.setItem(key, value)

/** Forgets the cookie. */
export const forgetCookie = (): void => sessionStorage.removeItem(key)

/** How many milliseconds the broker has to answer. */
const patience = 10_000

/** Sends a request with the cookie. */
export const send = <A = undefined>(method: "GET" | "POST" | "DELETE", path: string): Promise<Outcome<A>> =>
  fetch(path, {
    method,
    headers: { "X-WebRocket-Cookie": cookie() ?? "" },
    signal: AbortSignal.timeout(patience),
    cache: "no-store"
  }).then((response) => outcomeOf<A>(response), () => unreachable)

const outcomeOf = <A>(response: Response): Promise<Outcome<A>> => {
  if (response.status === 403) return Promise.resolve({ _tag: "Forbidden" })
  return response.text().then(
    (text) =>
      response.ok ? { _tag: "Done", value: read(text) as A } : { _tag: "Refused", message: messageOf(response, text) },
    () => unreachable
  )
}

const unreachable = { _tag: "Unreachable" } as const

const read = (text: string): unknown => text === "" ? undefined : JSON.parse(text)

const messageOf = (response: Response, text: string): string => {
  if (response.headers.get("content-type")?.includes("json") !== true) {
    return `The broker has answered ${response.status}.`
  }
  const { message } = read(text) as { readonly message?: unknown }
  return typeof message === "string" ? message : text
}

/** The path of a vhost in the API. */
export const vhostPath = (vhost: string): string => `/api/vhosts/${encodeURIComponent(vhost.replace(/^\//, ""))}`

/** Why the broker would not deliver, as sentences; `undefined` if it did not answer. */
export const problems = (): Promise<ReadonlyArray<string> | undefined> =>
  fetch("/ready", { signal: AbortSignal.timeout(patience), cache: "no-store" })
    .then((response) => response.json())
    .then(
      (answer: { readonly problems?: ReadonlyArray<string> }) => answer.problems ?? [],
      () => undefined
    )
