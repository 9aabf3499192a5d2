/**
 * What browsers load, as it is bundled and minified: the script, and an application that uses a door of the library.
 */
import * as esbuild from "esbuild"
import { gzipSync } from "node:zlib"
import { scriptOptions } from "../../build.ts"

/** Bundles for browsers. */
export const bundle = (options: esbuild.BuildOptions) =>
  esbuild.buildSync({ bundle: true, minify: true, write: false, platform: "browser", target: "es2022", ...options })

/** The script, without its source map. */
export const script = (format: "esm" | "iife"): string =>
  bundle({ ...scriptOptions, format, globalName: "Kosmonaut", sourcemap: false }).outputFiles![0]!.text

/** An application that shares a group of events and a channel, and uses a door of the library. */
export const application = (door: string): string => `
  import * as Schema from "effect/Schema"
  import { Channel, Event, EventGroup } from "./src/events/index.ts"
  import * as Door from "./src/${door}/index.ts"
  class Chat extends EventGroup.make("chat", Event.make("say", { payload: { text: Schema.String } })) {}
  export const Room = Channel.make("room", { params: { id: Schema.String }, events: Chat })
  export const used = [Event.encode(Chat.events.say, { text: "hello" }), ${door === "events" ? "1" : "Door"}]
`

/** How many bytes gzip makes of it. */
export const compressed = (code: string): number => gzipSync(code, { level: 9 }).length
