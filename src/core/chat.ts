/** The roles of a chat's messages. */
export const chatRoles = ['system', 'developer', 'user', 'assistant', 'tool'] as const;
export type ChatRole = (typeof chatRoles)[number];

/** One message of a chat. Its other fields (`name`, `tool_calls`, …) reach the chat template as they are. */
export interface ChatMessage {
  readonly role: ChatRole;
  readonly content: string;
  readonly [field: string]: unknown;
}

/** A chat as one text: `role: content` of each message, separated by blank lines. */
export function chatText(messages: readonly ChatMessage[]): string {
  return messages.map(({ role, content }) => `${role}: ${content}`).join('\n\n');
}
