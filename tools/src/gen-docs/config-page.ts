/** The table of settings: what `holdfast serve --help` prints, with the names of every source. */
import { table } from './sections.ts';

/** What the node package says of each setting. */
export interface OptionRow {
  readonly key: string;
  readonly flag: string;
  readonly environmentName: string;
  readonly placeholder: string;
  readonly defaultText: string;
  readonly isRequired: boolean;
  readonly help: string;
}

export function configSection(options: readonly OptionRow[]): string {
  const rows = options.map((option) => [
    `\`${option.key}\``,
    `\`${option.flag}\``,
    `\`${option.environmentName}\``,
    option.isRequired ? 'required' : option.defaultText,
    option.help,
  ]);
  return table(['key in the file', 'flag', 'environment', 'default', 'meaning'], rows);
}
