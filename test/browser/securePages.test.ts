/**
 * Pages whose connection is encrypted.
 */
import { Effect } from "effect"
import { expect } from "vitest"
import * as Certificates from "../harness/certificates.ts"
import { describeInChromium } from "../harness/chromium.ts"
import { eventually } from "../harness/eventually.ts"
import * as Site from "../harness/site.ts"
import { subscribed, waiting } from "./page/world.ts"

describeInChromium("pages over wss", (it) => {
  it.effect("stay connected when the certificate changes, and new ones come by the new one", () =>
    Effect.gen(function*() {
      const { files, replace } = yield* Certificates.replaceable
      yield* replace(Certificates.contentOf("server"))
      const site = yield* Site.make({ tls: { ...files, reloadInterval: "10 millis" } })
      expect(site.websocket).toMatch(/^wss:/)
      const joe = yield* site.open("joe")
      yield* joe.until(subscribed)
      const sid = yield* joe.run("connection.state.sid")
      yield* replace(Certificates.contentOf("renewed"))
      const renewed = Certificates.serialOf("renewed")
      yield* eventually(Certificates.serialAt(site.websocketPort), (serial) => serial === renewed)
      const ann = yield* site.open("ann")
      for (const tab of [joe, ann]) yield* tab.until(`uids().join() === "ann,joe"`)
      yield* ann.run(`room.broadcast("talk/said", { n: 1 })`)
      yield* joe.until(`log.said.join() === "1"`)
      expect(yield* joe.run("connection.state.sid")).toBe(sid)
      expect([...joe.faults, ...ann.faults]).toEqual([])
    }))

  it.effect("send nothing to a broker whose certificate is not trusted, and come when it is", () =>
    Effect.gen(function*() {
      const { files, replace } = yield* Certificates.replaceable
      yield* replace(Certificates.contentOf("self"))
      const site = yield* Site.make({ tls: { ...files, reloadInterval: "10 millis" } })
      const joe = yield* site.open("joe")
      yield* joe.until(`${waiting} && connection.state.attempt > 2`)
      expect(yield* joe.run("log.states.some(({ _tag }) => _tag === 'Connected')")).toBe(false)
      yield* replace(Certificates.contentOf("server"))
      yield* joe.until(subscribed)
      expect(joe.faults).toEqual([])
    }))
})
