/**
 * The browser's side of the chat of `chat.ts` without Effect, by the script. Of what is shared it imports types alone.
 */
import { connect } from "kosmonaut/script"
import type { Chat, Room } from "./chat-events.ts"

/** The connection. A backend of yours responds to `/token` with a single access token of the user. */
export const connection = connect<typeof Chat>("wss://example.com/chat", {
  token: () => fetch("/token").then((response) => response.text())
})

export const room = connection.subscribe<typeof Room>("presence-room", { data: { name: "Ann" } })

export const stop = room.on("talk/said", ({ at, by, text }) => console.log(`${at} ${by}: ${text}`))

connection.onState((state) => console.log(state._tag === "Connected" ? "connected" : "connecting …"))
room.onMembers((members) => console.log(members.map(({ uid }) => uid).join(", ")))

/** Says something. The promise is fulfilled when the broker has queued it. */
export const say = (text: string) =>
  connection.trigger("chat/say", { text }).catch((error) => {
    if (error._tag === "RequestTimeoutError") return console.log("perhaps sent")
    throw error
  })

/** What was said before. Dates are texts here, as in JSON. */
export const history = async () => {
  const lines = await connection.request("chat/history", {}, { timeout: 2000 })
  return lines.map(({ at, by, text }) => `${at} ${by}: ${text}`)
}
