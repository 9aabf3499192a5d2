/** A node of a cluster on the HTTP server of an application. */
import { NodeHttpServer } from "@effect/platform-node"
import { expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Logger } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { createServer } from "node:http"
import * as Connection from "../../../src/server/cluster/Connection.ts"
import * as Keys from "../../../src/server/cluster/Keys.ts"
import { Broker, Vhosts } from "../../../src/server/index.ts"
import * as Browser from "../../harness/Browser.ts"
import { eventually } from "../../harness/eventually.ts"
import { describeWithRedis, start } from "../../harness/redisServer.ts"

describeWithRedis("Broker.layerHttp with Redis", () => {
  it.live("is a node, which starts anew beside the routes of the application when its lease is lost", () =>
    Effect.gen(function*() {
      const server = yield* start()
      const application = HttpRouter.serve(
        Layer.merge(
          HttpRouter.add("GET", "/own", HttpServerResponse.text("own")),
          Broker.layerHttp({
            prefix: "/live",
            backendPort: 0,
            tcpPort: 0,
            vhosts: [{ path: "/chat", channels: ["room"] }],
            redis: { url: server.url }
          })
        ),
        { disableLogger: true, disableListenLog: true }
      ).pipe(
        Layer.provideMerge(NodeHttpServer.layer(() => createServer(), { port: 0, host: "127.0.0.1" })),
        Layer.provide(Logger.layer([]))
      )
      const context = yield* Layer.build(application)
      const { websocketPort } = Context.get(context, Broker.Broker)
      const url = `ws://127.0.0.1:${websocketPort}/live/chat`
      const browser = yield* Browser.connect(url)
      const redis = yield* Connection.make(server.url)
      const [node] = (yield* redis.send("ZRANGE", Keys.leases, "0", "-1")) as ReadonlyArray<string>
      yield* redis.send("ZREM", Keys.leases, node!)
      expect(yield* browser.closed).toBe(1001)
      const ann = yield* eventually(Effect.exit(Browser.connect(url)), Exit.isSuccess)
      const again = yield* ann
      yield* again.send({ subscribe: { channel: "room" } })
      yield* again.nextOf(":subscribed")
      // A vhost that is added then has a route as well.
      yield* Context.get(context, Vhosts.Vhosts).add({ path: "/later" })
      yield* Browser.connect(`ws://127.0.0.1:${websocketPort}/live/later`)
      const own = yield* Effect.promise(() => fetch(`http://127.0.0.1:${websocketPort}/own`).then((it) => it.text()))
      expect(own).toBe("own")
    }))
})
