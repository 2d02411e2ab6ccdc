#!/usr/bin/env node
/** The `holdfast` executable: runs `program.ts`, from the bundle when that is current. */
import { programUrl } from './launch/program-url.ts';

await import(programUrl(import.meta.url).href);
