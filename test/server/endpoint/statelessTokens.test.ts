/**
 * Stateless tokens: browsers authenticate with what was signed, and with nothing else.
 */
import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import type { JWTPayload } from "jose"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import { join } from "node:path"
import { maxJwt } from "../../../src/protocol/BrowserMessage.ts"
import * as BrokerConfig from "../../../src/server/BrokerConfig.ts"
import * as TokenVerifier from "../../../src/server/endpoint/TokenVerifier.ts"
import { enter, makeVhost } from "../../harness/browserSession.ts"
import { ec, hmac, pemOf, raw, rsa, secret, sign } from "../../harness/signedTokens.ts"
import { temporaryFolder } from "../../harness/temporaryFolder.ts"

/** A key that no broker has. */
const unknown = Crypto.generateKeyPairSync("rsa", { modulusLength: 2048 })

const soon = { sub: "joe", exp: 60 }

/** A vhost of a broker with these keys. */
const makeWorld = Effect.fnUntraced(function*(jwt: BrokerConfig.Options["jwt"] = { secret }) {
  const verifier = yield* Layer.build(
    Layer.provide(TokenVerifier.layer, BrokerConfig.layer({ jwt: { anyVhost: true, ...jwt } }))
  )
  return yield* Effect.provideContext(makeVhost(), verifier)
})

/** A file with this content. */
const fileOf = Effect.fnUntraced(function*(content: string) {
  const file = join(yield* temporaryFolder, "key")
  Fs.writeFileSync(file, content)
  return file
})

/** All three kinds of keys. */
const keys = Effect.gen(function*() {
  return { secret, publicKeys: [yield* fileOf(pemOf(rsa)), yield* fileOf(pemOf(ec))] }
})

const rejected = (code: number, reason: unknown = expect.any(String)) => [{
  ":error": expect.objectContaining({ code, event: "auth", reason })
}]

describe("a stateless token", () => {
  it.effect.each(
    [
      ["HS256", {}],
      ["RS256", { alg: "RS256", key: rsa.privateKey }],
      ["ES256", { alg: "ES256", key: ec.privateKey }]
    ] as const
  )("of %s authenticates a browser of either version, any number of times", ([, signer]) =>
    Effect.gen(function*() {
      const world = yield* makeWorld(yield* keys)
      const jwt = yield* sign(soon, signer)
      for (const sid of ["a", "b"]) {
        // It is valid for 10 seconds more, whose clock is right.
        expect(yield* enter(world, sid, 1).send("auth", { jwt, id: 1 })).toEqual([
          { ":authenticated": { uid: "joe", expiresIn: 70_000, id: 1 } }
        ])
      }
      const old = enter(world, "c", 0)
      expect(yield* old.send("auth", { jwt })).toEqual([{ ":authenticated": {} }])
      yield* TestClock.adjust("69999 millis")
      expect(old.browser.closedWith()).toBe(undefined)
      yield* TestClock.adjust("1 millis")
      expect(old.browser.closedWith()).toBe(4501)
    }))

  it.effect("grants what its claims say, and without a pattern no private channel", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      const a = enter(world, "a", 1)
      const info = `{"name":"Joe","n":12345678901234567890}`
      const jwt = raw(
        { alg: "HS256" },
        `{"sub":"joe","exp":60,"pattern":"presence-.*","channels":["private-room"],"info":${info},"scope":"all"}`,
        hmac(secret)
      )
      expect(yield* a.send("auth", { jwt })).toMatchObject([
        { ":authenticated": { uid: "joe", channels: ["private-room"] } },
        { ":subscribed": { channel: "private-room" } }
      ])
      expect(yield* a.send("subscribe", { channel: "presence-room" })).toMatchObject([
        { ":subscribed": { channel: "presence-room", uid: "joe" } },
        { ":memberJoined": { uid: "joe", info: JSON.parse(info) } }
      ])
      const b = enter(world, "b", 1)
      yield* b.send("auth", { jwt: yield* sign({ ...soon, pattern: "private-.*" }) })
      expect(yield* b.send("subscribe", { channel: "private-room" })).toMatchObject([{ ":subscribed": {} }])
      expect(yield* b.send("subscribe", { channel: "presence-room" })).toMatchObject([{ ":error": { code: 403 } }])
      const c = enter(world, "c", 1)
      yield* c.send("auth", { jwt: yield* sign(soon) })
      for (const channel of ["private-room", "presence-room"]) {
        expect(yield* c.send("subscribe", { channel })).toMatchObject([{ ":error": { code: 403 } }])
      }
    }))

  it.effect("renews an authentication, and that of another kind", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      const a = enter(world, "a", 1)
      yield* a.authenticate("joe")
      yield* a.send("subscribe", { channel: "private-room" })
      expect(yield* a.send("auth", { jwt: yield* sign({ ...soon, pattern: "private-.*" }) })).toEqual([
        { ":authenticated": { uid: "joe", expiresIn: 70_000 } }
      ])
      yield* TestClock.adjust("60 seconds")
      expect(yield* a.send("auth", { jwt: yield* sign({ sub: "joe", exp: 120 }) })).toEqual([
        { ":authenticated": { uid: "joe", expiresIn: 70_000 } },
        { ":unsubscribed": { channel: "private-room", reason: "forbidden" } }
      ])
      yield* TestClock.adjust("69 seconds")
      expect(a.browser.closedWith()).toBe(undefined)
    }))

  it.effect("is rejected unless a key has signed it by its own algorithm", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld(yield* keys)
      const other = Buffer.from("fedcba9876543210fedcba9876543210")
      const good = yield* sign(soon)
      const [head, , signature] = good.split(".")
      const forged = [
        ...["none", "None", "NONE", "nOnE", "", undefined].map((alg) => raw({ alg }, soon)),
        ...["none", "HS384", "HS512", "RS256", "ES256", "PS256"].map((alg) => raw({ alg }, soon, hmac(secret))),
        // The public key is no secret.
        ...[pemOf(rsa), pemOf(rsa).trim(), pemOf(ec), rsa.publicKey.export({ type: "spki", format: "der" })].map((
          key
        ) => raw({ alg: "HS256" }, soon, hmac(key))),
        raw({ alg: "HS256", jwk: { kty: "oct", k: other.toString("base64url") } }, soon, hmac(other)),
        raw({ alg: "HS256", crit: ["x"], x: 1 }, soon, hmac(secret)),
        raw({ alg: "HS256", crit: ["b64"], b64: false }, soon, hmac(secret)),
        raw({ alg: ["HS256"] }, soon, hmac(secret)),
        raw("null", soon, hmac(secret)),
        raw({ alg: "HS256" }, `[${JSON.stringify(soon)}]`, hmac(secret)),
        yield* sign(soon, { key: other }),
        yield* sign(soon, { alg: "RS256", key: unknown.privateKey }),
        `${head}.${Buffer.from(JSON.stringify({ ...soon, sub: "ann" })).toString("base64url")}.${signature}`,
        `${head}.${good.split(".")[1]}.`,
        `${good}.x.y`,
        good.slice(0, 40),
        "a.b.c",
        "..",
        "f".repeat(128)
      ]
      for (const jwt of forged) {
        const stranger = enter(world, "a", 1)
        expect([jwt, yield* stranger.send("auth", { jwt })]).toEqual([jwt, rejected(402)])
        expect(stranger.session.isAuthenticated()).toBe(false)
      }
      expect(yield* enter(world, "b", 1).send("auth", { jwt: good })).toMatchObject([{ ":authenticated": {} }])
    }))

  it.effect.each<[string, unknown]>([
    [`missing required "exp" claim`, { sub: "joe" }],
    ["exp", { sub: "joe", exp: "60" }],
    ["exp", { sub: "joe", exp: null }],
    ["sub", { exp: 1060 }],
    ["the user id is empty", { sub: "", exp: 1060 }],
    ["sub", { sub: 7, exp: 1060 }],
    ["1000 characters", { sub: "j".repeat(1001), exp: 1060 }],
    ["expired", { sub: "joe", exp: 989 }],
    ["more than 30 days ahead", { sub: "joe", exp: 1e300 }],
    ["more than 30 days ahead", { sub: "joe", exp: 1000 + 31 * 86_400 }],
    ["nbf", { sub: "joe", exp: 1060, nbf: 1011 }],
    ["another vhost", { sub: "joe", exp: 1060, vhost: "/other" }],
    ["another vhost", { sub: "joe", exp: 1060, vhost: ["/other", "/tes"] }],
    ["another vhost", { sub: "joe", exp: 1060, vhost: 7 }],
    ["another vhost", { sub: "joe", exp: 1060, vhost: ["/test", 7] }],
    ["pattern", { sub: "joe", exp: 1060, pattern: 7 }],
    ["the pattern is empty", { sub: "joe", exp: 1060, pattern: "" }],
    ["does not compile", { sub: "joe", exp: 1060, pattern: "(" }],
    ["pattern", { sub: "joe", exp: 1060, pattern: "a{1000}{1000}" }],
    ["channels", { sub: "joe", exp: 1060, channels: "room" }],
    ["no channel name", { sub: "joe", exp: 1060, channels: ["no name"] }],
    ["100 channels", { sub: "joe", exp: 1060, channels: Array.from({ length: 101 }, (_, n) => `c${n}`) }],
    ["info", { sub: "joe", exp: 1060, info: [] }],
    ["4096 bytes", { sub: "joe", exp: 1060, info: { x: "x".repeat(4096) } }]
  ])("is rejected for its claims, and says why: %s", ([reason, claims]) =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      yield* TestClock.adjust("1000 seconds")
      const jwt = raw({ alg: "HS256" }, claims, hmac(secret))
      expect(yield* enter(world, "a", 1).send("auth", { jwt })).toEqual(
        rejected(402, expect.stringContaining(reason))
      )
    }))

  it.effect("is accepted for ten seconds after its end and before its begin, and for the vhosts that it names", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      yield* TestClock.adjust("1000 seconds")
      const good: ReadonlyArray<[JWTPayload, number]> = [
        [{ sub: "joe", exp: 991 }, 1000],
        [{ sub: "joe", exp: 1060, nbf: 1010 }, 70_000],
        [{ sub: "joe", exp: 1060, vhost: "/test" }, 70_000],
        [{ sub: "joe", exp: 1060, vhost: ["/a", "/test"] }, 70_000]
      ]
      for (const [claims, expiresIn] of good) {
        expect(yield* enter(world, "a", 1).send("auth", { jwt: yield* sign(claims) })).toEqual([
          { ":authenticated": { uid: "joe", expiresIn } }
        ])
      }
    }))

  it.effect("must name the vhost, unless the broker accepts it for any", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld({ secret, anyVhost: false })
      const [without, named] = [yield* sign(soon), yield* sign({ ...soon, vhost: "/test" })]
      expect(yield* enter(world, "a", 1).send("auth", { jwt: without })).toEqual(
        rejected(402, expect.stringContaining("jwt.anyVhost"))
      )
      expect(yield* enter(world, "b", 1).send("auth", { jwt: named })).toMatchObject([{ ":authenticated": {} }])
    }))

  it.effect("must be for the audience and of the issuer that the broker wants", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld({ secret, audience: "broker", issuer: "https://id.example.com" })
      const right = { ...soon, aud: ["app", "broker"], iss: "https://id.example.com" }
      expect(yield* enter(world, "a", 1).send("auth", { jwt: yield* sign(right) })).toMatchObject([{
        ":authenticated": {}
      }])
      const { aud: _, ...noAudience } = right
      const { iss: __, ...noIssuer } = right
      for (const wrong of [noAudience, noIssuer, { ...right, aud: "app" }, { ...right, iss: "https://id.example" }]) {
        expect(yield* enter(world, "b", 1).send("auth", { jwt: yield* sign(wrong) })).toEqual(
          rejected(402, expect.stringMatching(/"(aud|iss)"/))
        )
      }
    }))

  it.effect("costs: a browser has ten of them at once, and one a second", () =>
    Effect.gen(function*() {
      const a = enter(yield* makeWorld(), "a", 1)
      const jwt = yield* sign(soon)
      for (let times = 0; times < 10; times++) {
        expect(yield* a.send("auth", { jwt })).toMatchObject([{ ":authenticated": {} }])
      }
      expect(yield* a.send("auth", { jwt })).toEqual(rejected(429))
      yield* TestClock.adjust("1 second")
      expect(yield* a.send("auth", { jwt })).toMatchObject([{ ":authenticated": {} }])
      expect(yield* a.send("auth", { jwt })).toEqual(rejected(429))
    }))

  it.effect("is not read if it is too large, beside another one, or without keys", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      const jwt = yield* sign(soon)
      const none = yield* makeWorld({})
      const cases = [
        [world, { jwt: "x".repeat(maxJwt + 1) }, `a jwt has at most ${maxJwt} characters`],
        [world, { jwt, token: "f".repeat(128) }, "auth needs a token or a jwt"],
        [world, { jwt: 7 }, "auth needs a token or a jwt"],
        [world, { jwt: "" }, "auth needs a token or a jwt"],
        [none, { jwt }, "this broker has no keys for signed tokens"]
      ] as const
      for (const [where, payload, reason] of cases) {
        expect(yield* enter(where, "a", 1).send("auth", payload)).toEqual(rejected(400, reason))
      }
    }))

  it.effect("is not revoked with the single access tokens of its user", () =>
    Effect.gen(function*() {
      const world = yield* makeWorld()
      const jwt = yield* sign(soon)
      const { accessTokens, browsers } = world.vhost
      const a = enter(world, "a", 1)
      yield* a.send("auth", { jwt })
      expect(yield* accessTokens.revoke("joe")).toBe(0)
      yield* browsers.disconnect("uid", "joe")
      expect(a.browser.closedWith()).toBe(4403)
      expect(yield* enter(world, "b", 1).send("auth", { jwt })).toMatchObject([{ ":authenticated": {} }])
    }))
})

describe("the keys", () => {
  it.effect("are secrets of the configuration and of a file, each of which is valid", () =>
    Effect.gen(function*() {
      const [first, second] = ["a".repeat(32), "b".repeat(40)]
      const world = yield* makeWorld({
        secret: Redacted.make(secret),
        secretFile: yield* fileOf(`${first}\n\n  ${second}\r\n`)
      })
      for (const one of [secret, first, second]) {
        const jwt = yield* sign(soon, { key: Buffer.from(one) })
        expect(yield* enter(world, one, 1).send("auth", { jwt })).toMatchObject([{ ":authenticated": {} }])
      }
    }))

  it.effect("are checked at the start, and no secret is in an error", () =>
    Effect.gen(function*() {
      const privatePem = String(rsa.privateKey.export({ type: "pkcs8", format: "pem" }))
      const cases: ReadonlyArray<[BrokerConfig.Options["jwt"], string]> = [
        [{ secret: "short-secret" }, "jwt.secret cannot be what it is: it is a secret of at least 32 bytes"],
        [{ secretFile: yield* fileOf("short-secret\n") }, "jwt.secretFile cannot be what it is"],
        [{ secretFile: yield* fileOf("\n \n") }, "a file with a secret on each line"],
        [{ secretFile: "/nowhere/secret" }, "a file that can be read (ENOENT)"],
        [{ publicKeys: [yield* fileOf(privatePem)] }, "PEM files of public keys"],
        [{ publicKeys: [yield* fileOf("nonsense")] }, "PEM files of public keys"],
        [{ publicKeys: ["/nowhere/key"] }, "a file that can be read (ENOENT)"],
        [{ secretFile: yield* fileOf(`${secret}\n`.repeat(11)) }, "at most 10 keys"],
        [{ jwksUrl: "http://id.example.com/keys" }, "jwt.jwksUrl cannot be"],
        [{ jwksUrl: "nonsense" }, "an https: URL"],
        [{ jwksUrl: "file:///etc/passwd" }, "an https: URL"]
      ]
      for (const [jwt, sentence] of cases) {
        const layer = Layer.provide(TokenVerifier.layer, BrokerConfig.layer({ jwt }))
        const { message } = yield* Effect.flip(Effect.scoped(Layer.build(layer)))
        expect(message).toContain(sentence)
        assert.notInclude(message, "short-secret")
      }
    }))
})
