import { shellQuoted } from '../core/shell.js';

/** The command that resumes the run in a folder. */
export const resumeCommand = (folder: string) => `npx pmpo train --resume ${shellQuoted(folder)}`;
