/**
 * The page of `nothing-missed.ts` with the script: it goes on where it was when it is loaded again.
 */
import { connect, type Cursor } from "kosmonaut/script"
import type { News } from "./news.ts"

/** What the application does. */
declare const show: (text: string) => void
declare const loadAll: () => Promise<void>

/** Where the page was before it was loaded again. */
const kept = (): Cursor | undefined => {
  const text = sessionStorage.getItem("news")
  return text === null ? undefined : JSON.parse(text)
}

export const connection = connect("wss://example.com/news")

export const news = connection.subscribe<typeof News>("news", { since: kept() })

news.on("headlines/headline", ({ text }, cursor) => {
  show(text)
  sessionStorage.setItem("news", JSON.stringify(cursor))
})

news.onGap(() => loadAll())
