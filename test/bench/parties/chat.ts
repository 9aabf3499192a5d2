/**
 * The request that is measured: the response repeats the text.
 */
import { Schema } from "effect"
import { Event, EventGroup } from "../../../src/events/index.ts"

const Text = Schema.Struct({ text: Schema.String })

export class Chat extends EventGroup.make("chat", Event.make("echo", { payload: Text, success: Text })) {}

/** The data of each request. */
export const data = { text: "hello" }
