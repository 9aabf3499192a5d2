/**
 * Much work at once from a backend with a token: no attack, but others must not have to wait for it.
 */
import { Effect, Stream } from "effect"
import { address, alive, type Attack, browser, many, say } from "../stranger.ts"
import { withClient } from "./browsers.ts"

export const largeBatch: Attack = {
  name: "a batch of 4000 broadcasts",
  sentence: "broadcast 4000 messages in one request to 600 browsers",
  run: async (target) => {
    const subscribe = say({ subscribe: { channel: "room" } })
    await many(600, async (n) => alive(await browser(target, [subscribe], address(n))))
    const broadcasts = Array.from({ length: 4000 }, () => ({ channel: "room", event: "e", data: { a: 1 } }))
    return withClient(target, (client) => Effect.forever(Effect.ignore(client.broadcastAll(broadcasts))))
  }
}

export const manyBroadcasts: Attack = {
  name: "256 broadcasts at once",
  sentence: "broadcast 256 messages at the same time to 1000 browsers, again and again",
  run: async (target) => {
    const subscribe = say({ subscribe: { channel: "room" } })
    await many(1000, async (n) => alive(await browser(target, [subscribe], address(n))))
    return withClient(target, (client) =>
      Effect.forEach(
        Array.from({ length: 256 }),
        () => Effect.forever(Effect.ignore(client.broadcast("room", "e", { a: 1 }))),
        { concurrency: "unbounded", discard: true }
      ))
  }
}

export const listings: Attack = {
  name: "1024 listings at once",
  sentence: "list 5000 channels 1024 times at the same time",
  run: (target) =>
    withClient(
      target,
      (client) =>
        Effect.forEach(Array.from({ length: 5000 }, (_, n) => `listed-${n}`), client.openChannel, {
          concurrency: 256,
          discard: true
        }).pipe(
          Effect.andThen(Effect.forever(
            Effect.forEach(Array.from({ length: 1024 }), () => Effect.ignore(Stream.runDrain(client.channels())), {
              concurrency: "unbounded",
              discard: true
            })
          ))
        )
    )
}
