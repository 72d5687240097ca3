"Sphinx: the staged notebooks, as they were executed, in the furo theme"
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))      # for the slug function, which Sphinx wants by name

project = html_title = 'objectstore'
author = copyright = 'The objectstore authors'
extensions = ['myst_nb', 'sphinx_copybutton']

nb_execution_mode = 'off'
nb_merge_streams = True
nb_ipywidgets_js = {}                               # these would come from the network
myst_heading_anchors = 4
myst_heading_slug_func = 'pages.slug'
suppress_warnings = ['myst.header']                 # a symbol's section may follow the title of its page

html_theme = 'furo'
html_static_path = ['static']
html_css_files = ['style.css']
html_show_sourcelink = html_copy_source = False
exclude_patterns = []
pygments_style, pygments_dark_style = 'friendly', 'github-dark'
copybutton_exclude = '.linenos, .gp, .go'
