// A plugin of TypeDoc: a page is named by its first heading, and not by its file. The first page has a heading of TypeDoc's own.

import { Converter } from 'typedoc';

export function load(app) {
  app.converter.on(Converter.EVENT_CREATE_DOCUMENT, (_context, document) => {
    const part = document.content.find(({ kind, text }) => kind === 'text' && /^# /m.test(text));
    const heading = part && /^# (.+)$/m.exec(part.text);
    if (heading) document.name = heading[1].replaceAll('`', '');
  });
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project: { readme } }) => {
    if (readme?.[0]?.kind === 'text') readme[0].text = readme[0].text.replace(/^# .+\n/, '');
  });
}
