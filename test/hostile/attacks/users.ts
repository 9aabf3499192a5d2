/**
 * Attacks by browsers of users, on channels that are opened on demand, on presence channels, on tokens and on inboxes.
 */
import { Effect, Redacted } from "effect"
import { address, again, alive, type Attack, browser, many, push, say } from "../stranger.ts"
import { withClient } from "./browsers.ts"
import { users } from "./requests.ts"

const channelRule = (rule: string) => ["--channel-rule", rule]

export const channelsOnDemand: Attack = {
  name: "channels on demand",
  sentence: "subscribe to new channels with long names, and leave them, as fast as the rate allows",
  flags: channelRule("any-.* open-on-demand history"),
  run: async (target) => {
    const sockets = await many(100, async (n) => alive(await browser(target, [], address(n), "/test?v=1")))
    return again(200, (turn) =>
      sockets.forEach((socket, n) => {
        const names = Array.from({ length: 20 }, (_, i) => `any-${"x".repeat(100)}-${n}-${turn}-${i}`)
        for (const channel of names) push(socket, say({ subscribe: { channel, since: { epoch: "e", position: 1 } } }))
        if (turn % 2 === 1) { for (const channel of names) push(socket, say({ unsubscribe: { channel } })) }
      }))
  }
}

export const updates: Attack = {
  name: "updates of members",
  sentence: "change the data of a member on a channel with 100 of them, as fast as the rate allows",
  flags: channelRule("presence-.* open-on-demand"),
  run: async (target) => {
    const sockets = await users(target, 100)
    for (const socket of sockets) push(socket, say({ subscribe: { channel: "presence-room" } }))
    return again(
      100,
      (turn) =>
        sockets.forEach((socket, n) =>
          push(socket, say({ update: { channel: "presence-room", data: { n, turn, text: "x".repeat(200) } } }))
        )
    )
  }
}

export const graces: Attack = {
  name: "members that come and go",
  sentence: "join presence channels with as much data as is allowed, vanish, and come back as another user",
  flags: channelRule("presence-.* open-on-demand grace=60s"),
  run: (target) =>
    withClient(target, (client) =>
      Effect.promise(() => {
        const data = { text: "x".repeat(3000) }
        return again(20, (turn) =>
          many(10, async (n) => {
            const uid = `user-${turn}-${n}-${"x".repeat(500)}`
            const token = await Effect.runPromise(client.requestSingleAccessToken(uid, ".*"))
            const join = Array.from(
              { length: 10 },
              (_, i) => say({ subscribe: { channel: `presence-${n}-${i}`, data } })
            )
            const auth = say({ auth: { token: Redacted.value(token) } })
            const socket = await browser(target, [auth, ...join], address(turn * 10 + n), "/test?v=1")
            setTimeout(() => socket.destroy(), 100)
          }))
      }))
}

export const renewals: Attack = {
  name: "renewals",
  sentence:
    "authenticate again and again, with new tokens, used ones and wrong ones, while subscribed to many channels",
  run: async (target) => {
    const sockets = await users(target, 20)
    const join = Array.from({ length: 50 }, (_, n) => say({ subscribe: { channel: `hall-${n}` } }))
    for (const socket of sockets) push(socket, Buffer.concat(join))
    return withClient(
      target,
      (client) =>
        Effect.promise(() =>
          again(20, (turn) =>
            Promise.all(sockets.map(async (socket, n) => {
              const uid = `user-${turn % 2 === 0 ? n : turn}`
              const token = Redacted.value(
                await Effect.runPromise(
                  client.requestSingleAccessToken({ uid, pattern: ".*", channels: ["hall-1", "hall-2", "missing"] })
                )
              )
              for (const shown of [token, token, "wrong"]) push(socket, say({ auth: { token: shown } }))
            })))
        )
    )
  }
}

export const inboxes: Attack = {
  name: "inboxes",
  sentence: "have a backend send to more users than are remembered, each with browsers that come and go",
  flags: channelRule(":user history"),
  // What the vhost may retain.
  keeps: 64,
  run: async (target) => {
    const sockets = await users(target, 50)
    const since = { epoch: "e", position: 0 }
    return withClient(target, (client) =>
      Effect.promise(() =>
        again(20, (turn) => {
          for (const socket of sockets) {
            push(socket, say({ subscribe: { channel: ":user", since } }))
            if (turn % 2 === 0) push(socket, say({ unsubscribe: { channel: ":user" } }))
          }
          return Effect.runPromise(
            Effect.forEach(
              Array.from({ length: 500 }, (_, n) => `user-${(turn * 500 + n) % 150_000}`),
              (uid) => Effect.ignore(client.sendToUser(uid, "an-event-like-others", { text: "x".repeat(500) })),
              { concurrency: "unbounded", discard: true }
            )
          )
        })
      ))
  }
}

export const recoveries: Attack = {
  name: "recoveries",
  sentence:
    "subscribe to a channel with a long history, for all that was missed or for another epoch, and leave it, as fast as the rate allows",
  flags: channelRule("room history-count=1000"),
  run: async (target) => {
    const data = { text: "x".repeat(1000) }
    const sockets = await many(50, async (n) => alive(await browser(target, [], address(n), "/test?v=1")))
    return withClient(target, (client) =>
      Effect.andThen(
        Effect.replicateEffect(client.broadcast("room", "e", data), 1000, { discard: true }),
        Effect.promise(() =>
          again(100, (turn) =>
            sockets.forEach((socket) => {
              const asked = turn % 2 === 0 ? { rewind: 1000 } : { since: { epoch: "another", position: turn } }
              const parts = Array.from({ length: 20 }, () => [
                { subscribe: { channel: "room", ...asked } },
                { unsubscribe: { channel: "room" } }
              ])
              push(socket, say(parts.flat()))
            }))
        )
      ))
  }
}

export const lists: Attack = {
  name: "lists of members",
  sentence: "ask for the members of a channel with 100 of them and much data, as fast as the rate allows",
  flags: channelRule("presence-.* open-on-demand"),
  run: async (target) => {
    const sockets = await users(target, 100)
    const data = { text: "x".repeat(2500) }
    for (const socket of sockets) push(socket, say({ subscribe: { channel: "presence-room", data } }))
    const ask = say(Array.from({ length: 20 }, () => ({ members: { channel: "presence-room", after: 0 } })))
    return again(100, () => sockets.forEach((socket) => push(socket, ask)))
  }
}
