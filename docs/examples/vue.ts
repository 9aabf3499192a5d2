/**
 * Composables for Vue, over the connection of `script.ts`.
 */
import { onScopeDispose, shallowRef } from "vue"
import { connection, room } from "./script.ts"

export const useConnectionState = () => {
  const state = shallowRef(connection.state)
  onScopeDispose(connection.onState((now) => state.value = now))
  return state
}

export const useLines = () => {
  const lines = shallowRef<ReadonlyArray<string>>([])
  onScopeDispose(room.on("talk/said", ({ text }) => lines.value = [...lines.value, text]))
  return lines
}
